package portable.jvm;

import static org.junit.jupiter.api.Assertions.fail;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BooleanSupplier;
import java.util.function.Predicate;

/** Plays the part of the loop: hands operations over, and keeps every event. */
final class Loop implements AutoCloseable {
    static final long PATIENCE = 20_000_000_000L; // nanoseconds

    /** One event. */
    record Event(int kind, int id, int arg, byte[] payload) {
        String text() {
            return new String(payload, StandardCharsets.UTF_8);
        }
    }

    final Pump pump;
    final List<Event> events = new ArrayList<>();
    int refused; // bytes that were written and not taken in the last poll
    private int ops;
    private int opBytes;

    Loop(Pump pump) {
        this.pump = pump;
    }

    static Loop open() throws PumpException {
        return new Loop(new Pump());
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Puts an operation into the buffers. */
    Loop op(int kind, int id, int arg, byte[] payload) {
        ByteBuffer headers = pump.opHeaders();
        int at = ops++ * 16;
        headers.putInt(at, kind).putInt(at + 4, id).putInt(at + 8, arg).putInt(at + 12, payload.length);
        pump.opPayloads().put(opBytes, payload);
        opBytes += payload.length;
        return this;
    }

    Loop op(int kind, int id) {
        return op(kind, id, 0, new byte[0]);
    }

    Loop write(int id, byte[] data) {
        return op(OperationBuffer.WRITE, id, 0, data);
    }

    Loop sendTo(int id, String address, byte[] data) {
        byte[] text = bytes(address);
        ByteBuffer both = ByteBuffer.allocate(text.length + data.length).put(text).put(data);
        return op(OperationBuffer.SENDTO, id, text.length, both.array());
    }

    /** Polls once; returns what that brought. */
    List<Event> poll(int timeoutMillis) throws PumpException {
        int count = ops;
        refused = opBytes;
        ops = 0;
        opBytes = 0;
        long result = pump.poll(timeoutMillis, count);
        for (int i = 0; i < count; i++) {
            refused -= pump.opHeaders().getInt(i * 16 + 12);
        }
        if (refused > 0 != ((result & Pump.REFUSED) != 0)) {
            fail(refused + " bytes were not taken, poll says " + Long.toHexString(result));
        }
        result &= ~Pump.REFUSED;
        List<Event> fresh = new ArrayList<>();
        int from = 0;
        for (int i = 0; i < (int) result; i++) {
            ByteBuffer headers = pump.eventHeaders();
            byte[] payload = new byte[headers.getInt(i * 16 + 12)];
            pump.eventPayloads().duplicate().clear().get(from, payload);
            from += payload.length;
            fresh.add(
                    new Event(
                            headers.getInt(i * 16), headers.getInt(i * 16 + 4), headers.getInt(i * 16 + 8), payload));
        }
        if (from != (int) (result >>> 32)) {
            fail("payloads have " + from + " bytes, poll says " + (result >>> 32));
        }
        events.addAll(fresh);
        return fresh;
    }

    /** Polls until `done`. */
    void until(BooleanSupplier done) throws PumpException {
        long end = System.nanoTime() + PATIENCE;
        while (!done.getAsBoolean()) {
            if (System.nanoTime() > end) {
                fail("nothing more happens after " + describe());
            }
            poll(10);
        }
    }

    /** Polls until there is an event that `wanted` is about, and returns the first. */
    Event await(Predicate<Event> wanted) throws PumpException {
        until(() -> events.stream().anyMatch(wanted));
        return events.stream().filter(wanted).findFirst().orElseThrow();
    }

    Event await(int kind, int id) throws PumpException {
        return await(event -> event.kind == kind && event.id == id);
    }

    long count(int kind, int id) {
        return events.stream().filter(event -> event.kind == kind && event.id == id).count();
    }

    /** Returns the data that came for `id`. */
    byte[] received(int id) {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        for (Event event : events) {
            if (event.kind == EventBuffer.DATA && event.id == id) {
                all.writeBytes(event.payload);
            }
        }
        return all.toByteArray();
    }

    String describe() {
        StringBuilder text = new StringBuilder();
        for (Event event : events.subList(Math.max(0, events.size() - 20), events.size())) {
            text.append(String.format("%d(%x, %d, %d bytes) ", event.kind, event.id, event.arg, event.payload.length));
        }
        return text.toString();
    }

    /** Listens on the loopback interface and accepts; returns the id. */
    int listen() throws PumpException {
        int listener = pump.listenTcp("127.0.0.1", 0, 128, false);
        pump.resumeAccepting(listener);
        return listener;
    }

    int port(int id) throws PumpException {
        String text = pump.localAddress(id);
        return Integer.parseInt(text.substring(text.indexOf('\n') + 1));
    }

    /** Returns a plain socket connected to `listener`, which has not been accepted yet. */
    Socket dial(int listener) throws IOException {
        Socket socket = new Socket(InetAddress.getByName("127.0.0.1"), port(listener));
        socket.setSoTimeout((int) (PATIENCE / 1_000_000));
        return socket;
    }

    /** Returns the id of the next connection that is accepted. */
    int accepted() throws PumpException {
        int before = events.size();
        until(() -> events.subList(before, events.size()).stream().anyMatch(e -> e.kind == EventBuffer.ACCEPTED));
        return events.subList(before, events.size()).stream()
                .filter(event -> event.kind == EventBuffer.ACCEPTED)
                .findFirst()
                .orElseThrow()
                .id;
    }

    @Override
    public void close() {
        pump.close();
    }
}
