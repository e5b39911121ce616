package portable.jvm;

import java.io.IOException;
import java.net.SocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.SocketChannel;

/**
 * One byte stream, TCP or Unix.
 *
 * <p>A write goes to the kernel at once. What it does not take is refused and stays with whoever wrote it, and so
 * is everything after that until WRITABLE was told; writability is watched at no other time. Nothing is kept here,
 * or peers that do not read would fill our memory, of which the part outside the heap is small.
 */
final class Connection extends Slot {
    // Bytes read in one turn. Reading less costs more calls; more leaves the processor's cache.
    private static final int MOST_READ = 256 * 1024;
    // Bytes. With less room than that left, it is cheaper to wait for the next turn.
    private static final int LEAST_READ = 16 * 1024;

    private final SocketChannel channel;
    private final boolean tcp;
    private boolean connecting;
    private boolean paused; // the other side wants no data now
    private boolean ended; // the peer has ended its direction
    private boolean full; // something was refused, and WRITABLE is still to come
    private boolean writable; // WRITABLE is to be told
    private boolean endSent; // our direction has ended
    private String error; // why it ended; null for what we asked for
    private int servedTurn;

    Connection(Pump pump, SocketChannel channel, boolean tcp) throws PumpException {
        super(pump);
        this.channel = channel;
        this.tcp = tcp;
        pump.connections++;
    }

    @Override
    SocketChannel channel() {
        return channel;
    }

    /** Begins the life of an accepted connection. */
    void start() throws IOException {
        channel.configureBlocking(false);
        setOptions();
        register(SelectionKey.OP_READ);
    }

    private void setOptions() throws IOException {
        if (tcp) {
            channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
            channel.socket().setOOBInline(true);
        }
    }

    /** Begins to connect. Whatever comes of it, an event tells. */
    void connect(SocketAddress address, SocketAddress local) {
        connecting = true;
        try {
            channel.configureBlocking(false);
            setOptions();
            if (local != null) {
                channel.bind(local);
            }
            if (channel.connect(address)) {
                register(0);
                pump.waitForRoom(this);
            } else if (tcp) {
                register(SelectionKey.OP_CONNECT);
            } else {
                // A Unix socket connects at once or not at all: the listener's queue is full.
                end("EAGAIN");
            }
        } catch (IOException | IllegalArgumentException | UnsupportedOperationException e) {
            end(ErrnoNames.of(e));
        }
    }

    /** Gives the id back without an event. */
    void forget() {
        dead = true;
        pump.connections--;
        pump.slots.remove(id);
    }

    String peerText() {
        return tcp ? Addresses.textOrNothing(channel::getRemoteAddress) : "";
    }

    @Override
    void ready(int operations) {
        if (connecting) {
            finishConnecting();
            return;
        }
        // Reading first: what the peer said before it broke the connection, and why it broke, is known there.
        if ((operations & SelectionKey.OP_READ) != 0 && !waiting && servedTurn != pump.turn) {
            read();
        }
        if ((operations & SelectionKey.OP_WRITE) != 0 && full && !dead) {
            pump.selector.progress = true;
            full = false;
            writable = true;
            pump.reportLater(this);
            watch();
        }
    }

    @Override
    void serve() {
        if (connecting) {
            finishConnecting();
        } else if (isReading()) {
            read();
        }
    }

    private boolean isReading() {
        return !(paused || ended || dead || connecting);
    }

    private void finishConnecting() {
        if (dead) {
            return;
        }
        if (!pump.events.hasRoomForText()) {
            pump.waitForRoom(this);
            return;
        }
        try {
            if (!channel.finishConnect()) {
                return;
            }
        } catch (IOException e) {
            end(ErrnoNames.of(e));
            return;
        }
        connecting = false;
        pump.selector.progress = true;
        pump.events.addText(
                EventBuffer.CONNECTED, id, 0, Addresses.textOrNothing(channel::getRemoteAddress));
        watch();
    }

    private void read() {
        if (!isReading()) {
            return;
        }
        EventBuffer events = pump.events;
        int room = events.roomForData(MOST_READ);
        // Who comes last in a turn would get what the others have left, each time; in the next turn it comes first.
        if (room < LEAST_READ || room < MOST_READ && events.bytes() > 0) {
            pump.waitForRoom(this);
            return;
        }
        servedTurn = pump.turn;
        int count;
        try {
            count = channel.read(events.space(room));
        } catch (IOException e) {
            end(ErrnoNames.of(e));
            return;
        }
        if (count > 0) {
            pump.selector.progress = true;
            events.addData(id, count);
        } else if (count < 0) {
            pump.selector.progress = true;
            ended = true;
            events.add(EventBuffer.EOF, id, 0, 0);
            watch();
        }
    }

    @Override
    int operate(int kind, int arg, ByteBuffer payload) {
        if (kind == OperationBuffer.WRITE) {
            return write(payload);
        }
        if (dead) {
            return 0;
        }
        switch (kind) {
            case OperationBuffer.CLOSE -> {
                if (!full) {
                    end(null);
                }
            }
            case OperationBuffer.ABORT -> abort();
            case OperationBuffer.PAUSE_READ -> {
                paused = true;
                watch();
            }
            case OperationBuffer.RESUME_READ -> {
                paused = false;
                watch();
            }
            case OperationBuffer.WRITE_EOF -> endOutput();
            default -> { }
        }
        return 0;
    }

    /** Writes; returns how many bytes were not taken. */
    private int write(ByteBuffer data) {
        if (dead || endSent) {
            return data.remaining();
        }
        if (!full && !connecting) {
            try {
                channel.write(data);
            } catch (IOException e) {
                end(ErrnoNames.of(e));
                return data.remaining();
            }
        }
        if (data.hasRemaining() && !full) {
            full = true;
            watch();
        }
        return data.remaining();
    }

    private void endOutput() {
        if (full || connecting || endSent) {
            return;
        }
        endSent = true;
        try {
            channel.shutdownOutput();
        } catch (IOException e) {
            end(ErrnoNames.of(e));
        }
    }

    private void watch() {
        if (!connecting) {
            int read = paused || ended ? 0 : SelectionKey.OP_READ;
            watch(full ? read | SelectionKey.OP_WRITE : read);
        }
    }

    private void abort() {
        if (tcp) {
            try {
                // Not lingering makes the system send a reset, which cannot be taken for a regular end.
                channel.setOption(StandardSocketOptions.SO_LINGER, 0);
            } catch (IOException e) {
                // It is broken already.
            }
        }
        end(null);
    }

    private void end(String code) {
        error = code;
        pump.selector.progress = true;
        closeChannel();
        pump.reportLater(this);
    }

    @Override
    boolean report(EventBuffer events) {
        if (dead) {
            if (!events.hasRoomForText()) {
                return false;
            }
            if (error == null) {
                events.add(EventBuffer.CLOSED, id, 0, 0);
            } else {
                events.addText(EventBuffer.CLOSED, id, 1, error);
            }
            forget();
            return true;
        }
        if (writable) {
            if (!events.hasRoom()) {
                return false;
            }
            writable = false;
            events.add(EventBuffer.WRITABLE, id, 1, 0);
        }
        return true;
    }
}
