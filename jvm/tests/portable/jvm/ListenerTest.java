package portable.jvm;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.SocketAddress;
import java.net.SocketOption;
import java.nio.channels.SelectionKey;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.channels.spi.SelectorProvider;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What accepting does when it fails, which no test can make a system do: the channel is not real. */
class ListenerTest {
    private Loop loop;
    private Channel channel;
    private Listener listener;

    @BeforeEach
    void open() throws PumpException {
        loop = Loop.open();
        loop.pump.events.clear();
        channel = new Channel();
        listener = new Listener(loop.pump, channel, true);
    }

    @AfterEach
    void close() {
        loop.close();
    }

    @Test
    void aConnectionThatFailedBeforeItWasTakenIsPassedOver() {
        List<String> failures =
                List.of("Software caused connection abort", "Network is down", "Operation not permitted");
        channel.failures.addAll(failures);
        listener.ready(SelectionKey.OP_ACCEPT);
        assertEquals(0, channel.failures.size());
        assertEquals(0, loop.pump.events.records());
    }

    @Test
    void aLackOfResourcesStops() {
        channel.failures.addAll(List.of("Too many open files", "not reached"));
        listener.ready(SelectionKey.OP_ACCEPT);
        assertEquals(1, channel.failures.size());
        assertEquals(EventBuffer.STARVED, loop.pump.events.headers.getInt(0));
    }

    @Test
    void whatHasNoNameStops() {
        channel.failures.add("a failure that nobody has heard of");
        listener.ready(SelectionKey.OP_ACCEPT);
        assertEquals(EventBuffer.STARVED, loop.pump.events.headers.getInt(0));
    }

    /** Fails as told, and then has nothing to accept. */
    private static final class Channel extends ServerSocketChannel {
        final Queue<String> failures = new ArrayDeque<>();

        Channel() {
            super(SelectorProvider.provider());
        }

        @Override
        public SocketChannel accept() throws IOException {
            if (failures.isEmpty()) {
                return null;
            }
            throw new IOException(failures.remove());
        }

        @Override
        protected void implCloseSelectableChannel() {
            // There is nothing to close.
        }

        @Override
        protected void implConfigureBlocking(boolean block) {
            throw new UnsupportedOperationException();
        }

        @Override
        public ServerSocketChannel bind(SocketAddress local, int backlog) {
            throw new UnsupportedOperationException();
        }

        @Override
        public <T> ServerSocketChannel setOption(SocketOption<T> name, T value) {
            throw new UnsupportedOperationException();
        }

        @Override
        public <T> T getOption(SocketOption<T> name) {
            throw new UnsupportedOperationException();
        }

        @Override
        public Set<SocketOption<?>> supportedOptions() {
            return Set.of();
        }

        @Override
        public ServerSocket socket() {
            throw new UnsupportedOperationException();
        }

        @Override
        public SocketAddress getLocalAddress() {
            return new InetSocketAddress(0);
        }
    }
}
