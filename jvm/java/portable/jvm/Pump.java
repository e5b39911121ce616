package portable.jvm;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.StandardProtocolFamily;
import java.net.StandardSocketOptions;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.NetworkChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.ArrayDeque;

/**
 * Sockets for a loop that runs elsewhere, with one exchange per turn: operations in, events out.
 *
 * <p>Events and operations are records of four ints, `kind, id, arg, length`, in native byte order, in shared
 * direct buffers; their payloads follow each other, in the same order, in two more. An id names one socket for
 * its whole life and nothing afterwards: an operation with the id of something that has ended is ignored.
 *
 * <p>Events: 1 ACCEPTED (arg = listener, payload = remote address), 2 CONNECTED (payload = remote address),
 * 3 DATA, 4 EOF, 5 CLOSED (arg = 0: as asked for; 1: payload = errno name), 6 WRITABLE (arg = 1: the
 * kernel takes something again; 0, of a UDP socket: it does not), 7 DATAGRAM (arg = length of the sender's address at the beginning of the
 * payload), 8 ERROR (of a UDP socket, which lives on; payload = errno name), 9 STARVED (of a listener, which has
 * paused itself; payload = errno name).
 *
 * <p>Operations: 1 WRITE, 2 CLOSE, 3 ABORT, 4 PAUSE_READ, 5 RESUME_READ, 6 WRITE_EOF, 7 SENDTO (arg = length of
 * the address at the beginning of the payload, 0 if connected).
 *
 * <p>A stream keeps nothing that the kernel does not take, however many there are: the length in the record of such
 * a WRITE is lowered to what was taken, and WRITABLE follows later. Until then, as before CONNECTED, nothing more
 * is taken, and CLOSE and WRITE_EOF are ignored: whoever wrote asks again, after the rest. The length of a SENDTO
 * that failed, or found a full queue, becomes 0.
 *
 * <p>An address is the text `host\nport` with a literal host, or the path of a Unix socket. Names are never
 * looked up, in neither direction.
 *
 * <p>One thread uses a pump; only {@link #wakeup} may be called from others. Methods fail with a
 * {@link PumpException} that tells the errno name.
 */
public final class Pump implements AutoCloseable {
    /** In the result of {@link #poll}: look at the lengths in the operations' records. */
    public static final long REFUSED = 1L << 31;

    private static final int LEAST_EVENTS = 64;
    // Room for a datagram and for a useful read.
    private static final int LEAST_EVENT_BYTES = 128 * 1024;

    // What the sockets share.
    final SlotTable slots = new SlotTable();
    final EventBuffer events;
    final Addresses addresses = new Addresses();
    final PumpSelector selector;
    int connections;
    int turn;

    private final OperationBuffer operations;
    private final ArrayDeque<Slot> waiting = new ArrayDeque<>();
    private final ArrayDeque<Slot> reports = new ArrayDeque<>();
    private ByteBuffer datagram;

    /**
     * Makes a pump with buffers of the usual sizes.
     *
     * @throws PumpException there is no selector to be had
     */
    public Pump() throws PumpException {
        this(4096, 512 * 1024, 8192, 1024 * 1024);
    }

    /**
     * Makes a pump.
     *
     * @param maxEvents the most events in one turn, at least 64
     * @param eventBytes the most bytes of data in one turn, at least 128 KB; addresses come on top
     * @param maxOps the most operations handed over at once
     * @param opBytes the most bytes of payload of these
     * @throws PumpException there is no selector to be had
     */
    public Pump(int maxEvents, int eventBytes, int maxOps, int opBytes) throws PumpException {
        this(maxEvents, eventBytes, maxOps, opBytes, PumpSelector::selectFor);
    }

    Pump(int maxEvents, int eventBytes, int maxOps, int opBytes, PumpSelector.SelectCall selectCall)
            throws PumpException {
        if (maxEvents < LEAST_EVENTS || eventBytes < LEAST_EVENT_BYTES || maxOps < 1 || opBytes < 1) {
            throw new PumpException("EINVAL", "buffers too small");
        }
        events = new EventBuffer(maxEvents, eventBytes);
        operations = new OperationBuffer(maxOps, opBytes);
        try {
            // The class that closes descriptors opens one when it is loaded. Left to the first close, that would
            // fail for good where descriptors had run out meanwhile, and nothing could be closed ever again.
            SocketChannel.open().close();
            loadUnixSockets();
            selector = new PumpSelector(selectCall);
        } catch (IOException e) {
            throw new PumpException(e);
        }
    }

    /** Has Java read the files that it needs for Unix sockets, while it can: this process may yet change its root. */
    private static void loadUnixSockets() throws IOException {
        try {
            ServerSocketChannel.open(StandardProtocolFamily.UNIX).close();
        } catch (UnsupportedOperationException e) {
            return; // whoever wants one will be told
        }
    }

    /**
     * Tells the system's words for its errors in the language of this process: Java's exceptions have only these.
     * Without it the English ones are known. It counts for all pumps.
     *
     * @param table a line for each errno name: the name, a blank, and the text of strerror
     */
    public void nameErrors(String table) {
        ErrnoNames.learn(table);
    }

    // Whoever has these buffers always sees all of them: their positions and limits are never moved here.

    /**
     * Gives what an interrupted caller needs, too: behind the last record that events can use there is one with the
     * number of polls, and what the last one returned: its events, the bytes of their payloads, and 1 if refused.
     *
     * @return the buffer of the events' records; the same one always
     */
    public ByteBuffer eventHeaders() {
        return events.headers;
    }

    /** {@return the buffer of the events' payloads; the same one always} */
    public ByteBuffer eventPayloads() {
        return events.payloads;
    }

    /** {@return the buffer that takes the operations' records; the same one always} */
    public ByteBuffer opHeaders() {
        return operations.headers;
    }

    /** {@return the buffer that takes the operations' payloads; the same one always} */
    public ByteBuffer opPayloads() {
        return operations.payloads;
    }

    /**
     * Applies operations, waits until something happens, and records what did. It does not wait if some bytes were
     * not taken.
     *
     * @param timeoutMillis the longest wait; 0 = none, -1 = no limit
     * @param nops how many operations are in the buffers
     * @return the number of events; in the upper 32 bits the number of bytes of their payloads; and the bit
     *     {@link #REFUSED} if a WRITE or SENDTO was not taken whole
     * @throws PumpException the selector is broken
     */
    public long poll(int timeoutMillis, int nops) throws PumpException {
        turn++;
        events.clear();
        boolean refused = nops > 0 && operations.apply(nops, slots);
        if (!waiting.isEmpty()) {
            serveWaiting();
        }
        // Whoever wrote what was refused may have to be told to pause, and do something about it.
        boolean busy = refused || selector.woken() || events.records() > 0;
        busy |= !waiting.isEmpty() || !reports.isEmpty();
        selector.select(busy ? 0 : timeoutMillis);
        if (!reports.isEmpty()) {
            report();
        }
        events.sum(turn, refused);
        return events.records() | (refused ? REFUSED : 0) | (long) events.bytes() << 32;
    }

    /**
     * Applies operations only, when there are more in one turn than the buffers hold.
     *
     * @param nops how many operations are in the buffers
     * @return whether a WRITE or SENDTO was not taken whole
     */
    public boolean apply(int nops) {
        return operations.apply(nops, slots);
    }

    /** Ends the wait that goes on, or the next one. From any thread. */
    public void wakeup() {
        selector.wakeup();
    }

    private void serveWaiting() {
        for (int i = waiting.size(); i > 0; i--) {
            Slot slot = waiting.pollFirst();
            slot.waiting = false;
            if (!slot.dead) {
                slot.serve();
            }
        }
    }

    private void report() {
        while (!reports.isEmpty() && reports.peekFirst().report(events)) {
            reports.pollFirst().reporting = false;
        }
    }

    /** Has `slot` served first in the next turn: there is no room for its data in this one. */
    void waitForRoom(Slot slot) {
        if (!slot.waiting) {
            slot.waiting = true;
            waiting.addLast(slot);
        }
    }

    /** Has `slot` tell at the end of the turn what there is to tell. */
    void reportLater(Slot slot) {
        if (!slot.reporting) {
            slot.reporting = true;
            reports.addLast(slot);
        }
    }

    /** Returns the buffer that a datagram is received into. */
    ByteBuffer datagram() {
        if (datagram == null) {
            datagram = ByteBuffer.allocateDirect(Datagrams.MAX_DATAGRAM);
        }
        return datagram;
    }

    // Rare operations.

    /**
     * Listens; accepting starts with {@link #resumeAccepting}.
     *
     * @param host a literal address, "" for all
     * @param port 0 for any free one
     * @param backlog how many connections may wait to be accepted
     * @param reusePort whether others may listen on the same port, if they say so too
     * @return the id
     * @throws PumpException the address is in use, or none of ours
     */
    public int listenTcp(String host, int port, int backlog, boolean reusePort) throws PumpException {
        InetSocketAddress address = Addresses.toBind(host, port);
        ServerSocketChannel channel = null;
        try {
            channel =
                    host.isEmpty()
                            ? ServerSocketChannel.open()
                            : ServerSocketChannel.open(Addresses.family(address));
            channel.setOption(StandardSocketOptions.SO_REUSEADDR, true);
            if (reusePort) {
                channel.setOption(StandardSocketOptions.SO_REUSEPORT, true);
            }
            return listen(channel, address, backlog, true);
        } catch (IOException | RuntimeException e) {
            throw failure(channel, e);
        }
    }

    /**
     * Listens on a Unix socket; accepting starts with {@link #resumeAccepting}. The file is left to the caller,
     * who removes a stale one before and this one after, and sets its mode.
     *
     * @param path where; at most about 100 bytes
     * @param backlog how many connections may wait to be accepted
     * @return the id
     * @throws PumpException the path is in use, or none that can be made
     */
    public int listenUnix(String path, int backlog) throws PumpException {
        ServerSocketChannel channel = null;
        try {
            channel = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
            return listen(channel, UnixDomainSocketAddress.of(path), backlog, false);
        } catch (IOException | RuntimeException e) {
            throw failure(channel, e);
        }
    }

    private int listen(ServerSocketChannel channel, SocketAddress address, int backlog, boolean tcp)
            throws IOException {
        channel.configureBlocking(false);
        channel.bind(address, backlog);
        Listener listener = new Listener(this, channel, tcp);
        listener.register(0);
        return listener.id;
    }

    /**
     * Starts or continues to accept.
     *
     * @param listener its id
     * @throws PumpException it is closed
     */
    public void resumeAccepting(int listener) throws PumpException {
        listener(listener).resume();
    }

    /**
     * Stops accepting for a while; connections wait in the system.
     *
     * @param listener its id
     * @throws PumpException it is closed
     */
    public void pauseAccepting(int listener) throws PumpException {
        listener(listener).pause();
    }

    /**
     * Stops listening. The port is free when this returns; there is no event.
     *
     * @param listener its id
     * @throws PumpException it is closed already
     */
    public void closeListener(int listener) throws PumpException {
        Listener closing = listener(listener);
        closing.closeChannel();
        slots.remove(listener);
        selector.letGo();
    }

    /**
     * Opens a TCP connection. CONNECTED follows, or CLOSED with the reason, and nothing before the next poll.
     *
     * @param host a literal address
     * @param port from 1
     * @param localHost the literal address to come from; "" for any
     * @return the id
     * @throws PumpException it cannot even be begun
     */
    public int connectTcp(String host, int port, String localHost) throws PumpException {
        InetSocketAddress address = Addresses.of(host, port);
        InetSocketAddress local = localHost.isEmpty() ? null : Addresses.of(localHost, 0);
        SocketChannel channel = null;
        try {
            channel = SocketChannel.open(Addresses.family(address));
            Connection connection = new Connection(this, channel, true);
            connection.connect(address, local);
            return connection.id;
        } catch (IOException | RuntimeException e) {
            throw failure(channel, e);
        }
    }

    /**
     * Opens a connection to a Unix socket, as {@link #connectTcp} does. CLOSED with EAGAIN means that the
     * listener has a full queue.
     *
     * @param path the socket
     * @return the id
     * @throws PumpException it cannot even be begun
     */
    public int connectUnix(String path) throws PumpException {
        SocketChannel channel = null;
        try {
            UnixDomainSocketAddress address = UnixDomainSocketAddress.of(path);
            channel = SocketChannel.open(StandardProtocolFamily.UNIX);
            Connection connection = new Connection(this, channel, false);
            connection.connect(address, null);
            return connection.id;
        } catch (IOException | RuntimeException e) {
            throw failure(channel, e);
        }
    }

    /**
     * Opens a UDP socket that receives from everybody, at once.
     *
     * @param host a literal address, "" for all
     * @param port 0 for any free one
     * @param reusePort whether others may bind the same port, if they say so too
     * @return the id
     * @throws PumpException the address is in use, or none of ours
     */
    public int bindUdp(String host, int port, boolean reusePort) throws PumpException {
        InetSocketAddress address = Addresses.toBind(host, port);
        DatagramChannel channel = null;
        try {
            channel = host.isEmpty() ? DatagramChannel.open() : DatagramChannel.open(Addresses.family(address));
            if (reusePort) {
                channel.setOption(StandardSocketOptions.SO_REUSEPORT, true);
            }
            channel.bind(address);
            return datagrams(channel, false);
        } catch (IOException | RuntimeException e) {
            throw failure(channel, e);
        }
    }

    /**
     * Opens a UDP socket that sends to and receives from one peer.
     *
     * @param host a literal address
     * @param port from 1
     * @return the id
     * @throws PumpException there is no way to the peer
     */
    public int connectUdp(String host, int port) throws PumpException {
        InetSocketAddress address = Addresses.of(host, port);
        DatagramChannel channel = null;
        try {
            channel = DatagramChannel.open(Addresses.family(address));
            channel.connect(address);
            return datagrams(channel, true);
        } catch (IOException | RuntimeException e) {
            throw failure(channel, e);
        }
    }

    private int datagrams(DatagramChannel channel, boolean connected) throws IOException {
        try {
            datagram();
        } catch (OutOfMemoryError e) {
            throw new PumpException(e);
        }
        channel.configureBlocking(false);
        Datagrams socket = new Datagrams(this, channel, connected);
        socket.register(SelectionKey.OP_READ);
        return socket.id;
    }

    private static PumpException failure(AutoCloseable channel, Exception cause) {
        PumpException failure = cause instanceof PumpException known ? known : new PumpException(cause);
        if (channel != null) {
            try {
                channel.close();
            } catch (Exception e) {
                failure.addSuppressed(e);
            }
        }
        return failure;
    }

    /**
     * Tells our own address.
     *
     * @param id of a socket
     * @return `host\nport`, or the path
     * @throws PumpException it is closed
     */
    public String localAddress(int id) throws PumpException {
        try {
            return Addresses.text(((NetworkChannel) slot(id).channel()).getLocalAddress());
        } catch (IOException e) {
            throw new PumpException(e);
        }
    }

    /**
     * Tells the peer's address.
     *
     * @param id of a socket
     * @return `host\nport`, or the path; "" if it has none
     * @throws PumpException it is closed, or has no peer
     */
    public String remoteAddress(int id) throws PumpException {
        try {
            if (slot(id).channel() instanceof SocketChannel stream) {
                return Addresses.text(stream.getRemoteAddress());
            }
            if (slot(id).channel() instanceof DatagramChannel datagrams) {
                return Addresses.text(datagrams.getRemoteAddress());
            }
        } catch (IOException e) {
            throw new PumpException(e);
        }
        throw new PumpException("ENOTCONN", "a listener has no peer");
    }

    private Slot slot(int id) throws PumpException {
        Slot slot = slots.get(id);
        if (slot == null) {
            throw new PumpException("EBADF", "nothing has the id " + id);
        }
        return slot;
    }

    private Listener listener(int id) throws PumpException {
        if (slot(id) instanceof Listener listener) {
            return listener;
        }
        throw new PumpException("EBADF", "not a listener: " + id);
    }

    /** {@return how many stream connections there are, those that are being opened included} */
    public int connections() {
        return connections;
    }

    /** {@return how many bytes of memory outside the heap this pump holds} */
    public long directBytes() {
        long shared = events.headers.capacity() + events.payloads.capacity();
        shared += operations.headers.capacity() + operations.payloads.capacity();
        return shared + (datagram == null ? 0 : datagram.capacity());
    }

    /** Closes every socket at once, without events. Afterwards the pump is of no use. */
    @Override
    public void close() {
        selector.close();
    }
}
