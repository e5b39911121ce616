package portable.jvm;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.Socket;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;

/** Many connections that send as fast as they can. */
class FairnessTest {
    private static final int CONNECTIONS = 60;

    @Test
    void sixtyBulkConnectionsShareAndNewOnesGetIn() throws Exception {
        AtomicBoolean stop = new AtomicBoolean();
        List<Thread> writers = new ArrayList<>();
        List<Socket> sockets = new ArrayList<>();
        try (Loop loop = new Loop(new Pump(256, 128 * 1024, 1024, 64 * 1024))) {
            int listener = loop.listen();
            for (int i = 0; i < CONNECTIONS; i++) {
                Socket socket = loop.dial(listener);
                sockets.add(socket);
                // Every socket is full before the first turn, so all want service at any time.
                Thread writer = new Thread(() -> writeUntil(stop, socket));
                writers.add(writer);
            }
            loop.until(() -> loop.pump.connections() == CONNECTIONS);
            writers.forEach(Thread::start);
            Map<Integer, Long> turns = new HashMap<>();
            Map<Integer, Long> bytes = new HashMap<>();
            for (int turn = 0; turn < 40 * CONNECTIONS; turn++) {
                Map<Integer, Long> inTurn = new HashMap<>();
                for (Loop.Event event : loop.poll(100)) {
                    if (event.kind() == EventBuffer.DATA) {
                        inTurn.merge(event.id(), (long) event.payload().length, Long::sum);
                    }
                }
                loop.events.clear();
                inTurn.forEach((id, count) -> bytes.merge(id, count, Long::sum));
                inTurn.keySet().forEach(id -> turns.merge(id, 1L, Long::sum));
            }
            try (Socket late = loop.dial(listener)) {
                loop.accepted();
                assertTrue(late.isConnected());
            }
            assertTrue(turns.size() == CONNECTIONS, "served " + turns.size());
            long most = turns.values().stream().max(Long::compare).orElseThrow();
            long least = turns.values().stream().min(Long::compare).orElseThrow();
            assertTrue(least >= 0.8 * most, "turns from " + least + " to " + most + ", bytes " + bytes.values());
        } finally {
            stop.set(true);
            for (Socket socket : sockets) {
                socket.close();
            }
            for (Thread writer : writers) {
                writer.join();
            }
        }
    }

    private static void writeUntil(AtomicBoolean stop, Socket socket) {
        byte[] data = new byte[256 * 1024];
        try {
            while (!stop.get()) {
                socket.getOutputStream().write(data);
            }
        } catch (IOException e) {
            // Closed: the test is over.
        }
    }
}
