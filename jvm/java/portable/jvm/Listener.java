package portable.jvm;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SelectableChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.Set;

/** A listening TCP or Unix socket. */
final class Listener extends Slot {
    // Connections taken in one turn; the rest comes in the next, after the first ones had theirs.
    private static final int MOST_ACCEPTS = 256;

    // What another accept would say, too. EIO is what has no name here.
    private static final Set<String> LACKING = Set.of("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EIO");

    private final ServerSocketChannel channel;
    private final boolean tcp;

    Listener(Pump pump, ServerSocketChannel channel, boolean tcp) throws PumpException {
        super(pump);
        this.channel = channel;
        this.tcp = tcp;
    }

    @Override
    ServerSocketChannel channel() {
        return channel;
    }

    void resume() {
        watch(SelectionKey.OP_ACCEPT);
    }

    void pause() {
        watch(0);
    }

    @Override
    void ready(int operations) {
        EventBuffer events = pump.events;
        for (int i = 0; i < MOST_ACCEPTS && events.hasRoomForText(); i++) {
            SocketChannel accepted;
            try {
                accepted = channel.accept();
            } catch (IOException e) {
                String code = ErrnoNames.of(e);
                if (LACKING.contains(code)) {
                    starved(code);
                    return;
                }
                // The connection at the head of the queue failed before we took it; the next may be fine.
                pump.selector.progress = true;
                continue;
            }
            if (accepted == null) {
                return;
            }
            pump.selector.progress = true;
            if (!take(accepted)) {
                return;
            }
        }
    }

    private boolean take(SocketChannel accepted) {
        Connection connection = null;
        try {
            connection = new Connection(pump, accepted, tcp);
            connection.start();
        } catch (IOException e) {
            closeQuietly(accepted);
            if (connection == null) {
                starved(ErrnoNames.of(e));
                return false;
            }
            // This one ended before it began; the next may be well.
            connection.forget();
            return true;
        }
        pump.events.addText(EventBuffer.ACCEPTED, connection.id, id, connection.peerText());
        return true;
    }

    /** Stops accepting: the connection that waits would be reported again at once, and fill the processor. */
    private void starved(String code) {
        pump.selector.progress = true;
        watch(0);
        pump.events.addText(EventBuffer.STARVED, id, 0, code);
    }

    private static void closeQuietly(SelectableChannel channel) {
        try {
            channel.close();
        } catch (IOException e) {
            // It was not wanted anyway.
        }
    }

    @Override
    void serve() {
        throw new AssertionError("listeners do not wait for room");
    }

    @Override
    boolean report(EventBuffer events) {
        return true;
    }

    @Override
    int operate(int kind, int arg, ByteBuffer payload) {
        return 0; // listeners have methods of their own: what they do is rare
    }
}
