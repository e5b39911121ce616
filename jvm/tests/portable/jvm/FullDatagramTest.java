package portable.jvm;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.net.DatagramSocket;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.net.SocketAddress;
import java.net.SocketOption;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.MembershipKey;
import java.nio.channels.SelectionKey;
import java.nio.channels.spi.SelectorProvider;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A UDP socket that the kernel takes nothing from. The loopback interface is never full, so this one is not real. */
class FullDatagramTest {
    private static final String TO = "127.0.0.1\n9";

    private Loop loop;
    private Channel channel;
    private Datagrams socket;

    @BeforeEach
    void open() throws PumpException {
        loop = Loop.open();
        channel = new Channel();
        socket = new Datagrams(loop.pump, channel, false);
    }

    @AfterEach
    void close() {
        loop.close();
    }

    private List<Integer> writable() {
        return loop.events.stream().filter(e -> e.kind() == EventBuffer.WRITABLE).map(Loop.Event::arg).toList();
    }

    @Test
    void fullAndWritableAreToldInTurn() throws IOException {
        for (int i = 0; i < 2; i++) {
            loop.events.clear();
            channel.full = true;
            loop.sendTo(socket.id, TO, new byte[10]).poll(0);
            loop.sendTo(socket.id, TO, new byte[20]).poll(0);
            assertEquals(List.of(0), writable());
            channel.full = false;
            socket.ready(SelectionKey.OP_WRITE);
            loop.poll(0);
            loop.poll(0);
            assertEquals(List.of(0, 1), writable());
        }
        assertEquals(60, channel.sent);
    }

    @Test
    void whatFindsNoRoomIsLostAndTold() throws IOException {
        channel.full = true;
        loop.sendTo(socket.id, TO, new byte[40_000]).poll(0);
        assertEquals(0, loop.refused);
        loop.sendTo(socket.id, TO, new byte[40_000]).poll(0);
        assertEquals(40_000 + TO.length(), loop.refused);
        channel.full = false;
        socket.ready(SelectionKey.OP_WRITE);
        assertEquals(40_000, channel.sent);
    }

    @Test
    void closingSendsWhatWaitsFirst() throws IOException {
        channel.full = true;
        loop.sendTo(socket.id, TO, new byte[10]).op(OperationBuffer.CLOSE, socket.id).poll(0);
        assertEquals(0, loop.count(EventBuffer.CLOSED, socket.id));
        channel.full = false;
        socket.ready(SelectionKey.OP_WRITE);
        loop.await(EventBuffer.CLOSED, socket.id);
        assertEquals(10, channel.sent);
        assertEquals(List.of(0), writable());
    }

    /** Sends, or says that it is full. */
    private static final class Channel extends DatagramChannel {
        boolean full;
        int sent;

        Channel() {
            super(SelectorProvider.provider());
        }

        @Override
        public int send(ByteBuffer source, SocketAddress target) {
            int count = full ? 0 : source.remaining();
            source.position(source.position() + count);
            sent += count;
            return count;
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
        public DatagramChannel bind(SocketAddress local) {
            throw new UnsupportedOperationException();
        }

        @Override
        public <T> DatagramChannel setOption(SocketOption<T> name, T value) {
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
        public DatagramSocket socket() {
            throw new UnsupportedOperationException();
        }

        @Override
        public boolean isConnected() {
            return false;
        }

        @Override
        public DatagramChannel connect(SocketAddress remote) {
            throw new UnsupportedOperationException();
        }

        @Override
        public DatagramChannel disconnect() {
            throw new UnsupportedOperationException();
        }

        @Override
        public SocketAddress getRemoteAddress() {
            return null;
        }

        @Override
        public SocketAddress receive(ByteBuffer target) {
            return null;
        }

        @Override
        public int read(ByteBuffer target) {
            return 0;
        }

        @Override
        public long read(ByteBuffer[] targets, int offset, int length) {
            return 0;
        }

        @Override
        public int write(ByteBuffer source) {
            return 0;
        }

        @Override
        public long write(ByteBuffer[] sources, int offset, int length) {
            return 0;
        }

        @Override
        public SocketAddress getLocalAddress() {
            return new InetSocketAddress(0);
        }

        @Override
        public MembershipKey join(InetAddress group, NetworkInterface at) {
            throw new UnsupportedOperationException();
        }

        @Override
        public MembershipKey join(InetAddress group, NetworkInterface at, InetAddress source) {
            throw new UnsupportedOperationException();
        }
    }
}
