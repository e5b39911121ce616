package portable.jvm;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SelectionKey;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;

/** A UDP socket. */
final class Datagrams extends Slot {
    /** Bytes; the longest datagram that UDP can carry is shorter. */
    static final int MAX_DATAGRAM = 64 * 1024;

    // Datagrams taken in one turn, so that a flood leaves the others their share.
    private static final int MOST_READS = 64;
    // Bytes. Datagrams may be lost anyway; a queue without end helps nobody.
    private static final int MOST_QUEUED = 64 * 1024;
    // Errors kept until they can be told. Nobody acts on the thousandth otherwise than on the first.
    private static final int MOST_ERRORS = 1024;

    private final DatagramChannel channel;
    private final boolean connected;
    private final ArrayDeque<Waiting> queue = new ArrayDeque<>(0);
    private ByteBuffer queued; // the bytes of the datagrams in `queue`; null while there are none
    private boolean full; // WRITABLE has told so
    private boolean paused;
    private boolean closing;
    private final ArrayDeque<String> errors = new ArrayDeque<>(0);
    private SocketAddress lastSender;
    private byte[] lastSenderText = {};

    /** A datagram that the kernel did not take: where it goes, and where in `queued` it is. */
    private record Waiting(InetSocketAddress to, int offset, int length) {}

    Datagrams(Pump pump, DatagramChannel channel, boolean connected) throws PumpException {
        super(pump);
        this.channel = channel;
        this.connected = connected;
    }

    @Override
    DatagramChannel channel() {
        return channel;
    }

    @Override
    void ready(int operations) {
        if ((operations & SelectionKey.OP_READ) != 0 && !waiting) {
            receive();
        }
        if ((operations & SelectionKey.OP_WRITE) != 0 && !dead) {
            flush();
        }
    }

    @Override
    void serve() {
        receive();
    }

    private void receive() {
        EventBuffer events = pump.events;
        for (int i = 0; i < MOST_READS && !(paused || closing || dead); i++) {
            if (events.roomForData(MAX_DATAGRAM + EventBuffer.MAX_TEXT)
                    < MAX_DATAGRAM + EventBuffer.MAX_TEXT) {
                pump.waitForRoom(this);
                return;
            }
            ByteBuffer datagram = pump.datagram().clear();
            try {
                SocketAddress sender = channel.receive(datagram);
                if (sender == null) {
                    return;
                }
                pump.selector.progress = true;
                byte[] text = textOf(sender);
                datagram.flip();
                int length = text.length + datagram.remaining();
                events.space(length).put(text).put(datagram);
                events.add(EventBuffer.DATAGRAM, id, text.length, length);
            } catch (IOException e) {
                failed(ErrnoNames.of(e));
            }
        }
    }

    private byte[] textOf(SocketAddress sender) throws PumpException {
        if (!sender.equals(lastSender)) {
            lastSenderText = Addresses.text(sender).getBytes(StandardCharsets.UTF_8);
            lastSender = sender;
        }
        return lastSenderText;
    }

    @Override
    int operate(int kind, int arg, ByteBuffer payload) {
        if (kind == OperationBuffer.SENDTO) {
            int length = payload.remaining();
            return sendTo(arg, payload) ? 0 : length;
        }
        if (dead) {
            return 0;
        }
        switch (kind) {
            case OperationBuffer.CLOSE -> {
                closing = true;
                if (queue.isEmpty()) {
                    end();
                } else {
                    watch();
                }
            }
            case OperationBuffer.ABORT -> end();
            case OperationBuffer.PAUSE_READ -> {
                paused = true;
                watch();
            }
            case OperationBuffer.RESUME_READ -> {
                paused = false;
                watch();
            }
            default -> { }
        }
        return 0;
    }

    /** Sends or keeps a datagram; returns false if it is lost. */
    private boolean sendTo(int addressLength, ByteBuffer payload) {
        if (closing || dead) {
            return false;
        }
        byte[] text = new byte[addressLength];
        payload.get(text);
        try {
            InetSocketAddress to =
                    connected ? null : pump.addresses.parse(new String(text, StandardCharsets.UTF_8));
            return queue.isEmpty() && send(to, payload) || enqueue(to, payload);
        } catch (IOException | IllegalArgumentException e) {
            failed(ErrnoNames.of(e));
            return false;
        }
    }

    /** Sends; returns whether the kernel took the datagram. */
    private boolean send(InetSocketAddress to, ByteBuffer datagram) throws IOException {
        int length = datagram.remaining();
        if (to == null && length == 0) {
            // Neither `write` nor `send` calls the system then, and both say that all is well.
            throw new PumpException("EOPNOTSUPP", "Java sends no empty datagrams from a connected socket");
        }
        // Java says 0 for "full" and for an empty datagram that was sent.
        return (to == null ? channel.write(datagram) : channel.send(datagram, to)) == length;
    }

    /** Keeps the datagram, if there is room; they may be lost anyway. */
    private boolean enqueue(InetSocketAddress to, ByteBuffer datagram) {
        if (queued == null) {
            // On the heap, of which there is more. For sending, Java copies it into a buffer of the thread's.
            queued = ByteBuffer.allocate(MOST_QUEUED).limit(0);
        }
        int offset = queued.limit();
        int length = datagram.remaining();
        if (length > queued.capacity() - offset) {
            return false;
        }
        queued.limit(offset + length).put(offset, datagram, datagram.position(), length);
        queue.addLast(new Waiting(to, offset, length));
        pump.reportLater(this);
        watch();
        return true;
    }

    private void flush() {
        while (!queue.isEmpty()) {
            Waiting first = queue.peekFirst();
            try {
                if (!send(first.to, queued.slice(first.offset, first.length))) {
                    return;
                }
            } catch (IOException | IllegalArgumentException e) {
                failed(ErrnoNames.of(e));
            }
            pump.selector.progress = true;
            queue.removeFirst();
        }
        dropQueue();
        if (closing) {
            end();
        } else {
            pump.reportLater(this);
            watch();
        }
    }

    private void dropQueue() {
        queue.clear();
        queued = null;
    }

    private void watch() {
        int read = paused || closing ? 0 : SelectionKey.OP_READ;
        watch(queue.isEmpty() ? read : read | SelectionKey.OP_WRITE);
    }

    private void failed(String code) {
        if (errors.size() < MOST_ERRORS) {
            errors.addLast(code);
        }
        pump.selector.progress = true;
        pump.reportLater(this);
    }

    private void end() {
        closeChannel();
        dropQueue();
        pump.reportLater(this);
    }

    @Override
    boolean report(EventBuffer events) {
        while (events.hasRoomForText()) {
            if (dead) {
                events.add(EventBuffer.CLOSED, id, 0, 0);
                pump.slots.remove(id);
                return true;
            }
            if (!errors.isEmpty()) {
                events.addText(EventBuffer.ERROR, id, 0, errors.pollFirst());
            } else if (full == queue.isEmpty()) {
                full = !full;
                events.add(EventBuffer.WRITABLE, id, full ? 0 : 1, 0);
            } else {
                return true;
            }
        }
        return false;
    }
}
