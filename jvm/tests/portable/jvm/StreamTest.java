package portable.jvm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** TCP connections: their events, their ends, and what comes too late. */
class StreamTest {
    private Loop loop;
    private int listener;

    @BeforeEach
    void open() throws IOException {
        loop = Loop.open();
        listener = loop.listen();
    }

    @AfterEach
    void close() {
        loop.close();
    }

    @Test
    void anAcceptedConnectionTellsItsListenerAndItsPeer() throws IOException {
        try (Socket peer = loop.dial(listener)) {
            Loop.Event event = loop.await(e -> e.kind() == EventBuffer.ACCEPTED);
            assertEquals(listener, event.arg());
            assertEquals("127.0.0.1\n" + peer.getLocalPort(), event.text());
            assertEquals(event.text(), loop.pump.remoteAddress(event.id()));
            assertEquals("127.0.0.1\n" + peer.getPort(), loop.pump.localAddress(event.id()));
            assertEquals(1, loop.pump.connections());
        }
    }

    @Test
    void writesThatFollowEachOtherArriveInOrder() throws IOException {
        try (Socket peer = loop.dial(listener)) {
            int id = loop.accepted();
            loop.write(id, Loop.bytes("a")).write(id, Loop.bytes("b")).write(id, Loop.bytes("c")).poll(0);
            assertArrayEquals(Loop.bytes("abc"), peer.getInputStream().readNBytes(3));
        }
    }

    @Test
    void writesToSeveralConnectionsDoNotMix() throws IOException {
        try (Socket one = loop.dial(listener);
                Socket two = loop.dial(listener)) {
            loop.until(() -> loop.pump.connections() == 2);
            int first = idOf(one);
            int second = idOf(two);
            loop.write(first, Loop.bytes("1")).write(second, Loop.bytes("22"));
            loop.write(first, Loop.bytes("11")).write(second, Loop.bytes("2")).poll(0);
            assertArrayEquals(Loop.bytes("111"), one.getInputStream().readNBytes(3));
            assertArrayEquals(Loop.bytes("222"), two.getInputStream().readNBytes(3));
        }
    }

    private int idOf(Socket peer) throws PumpException {
        return loop.await(e -> e.kind() == EventBuffer.ACCEPTED && e.text().endsWith("\n" + peer.getLocalPort()))
                .id();
    }

    @Test
    void operationsCanBeAppliedWithoutAPoll() throws IOException {
        try (Socket peer = loop.dial(listener)) {
            int id = loop.accepted();
            loop.write(id, Loop.bytes("early"));
            loop.pump.apply(1);
            assertArrayEquals(Loop.bytes("early"), peer.getInputStream().readNBytes(5));
        }
    }

    @Test
    void dataComesInEventsOfAtMost64KbAndAtMost256KbPerPoll() throws Exception {
        byte[] sent = pattern(1_000_000);
        try (Socket peer = loop.dial(listener)) {
            int id = loop.accepted();
            Thread writer = writeFromThread(peer, sent);
            while (loop.received(id).length < sent.length) {
                List<Loop.Event> fresh = loop.poll(100);
                assertTrue(fresh.stream().allMatch(e -> e.payload().length <= 64 * 1024));
                assertTrue(fresh.stream().mapToInt(e -> e.payload().length).sum() <= 256 * 1024);
            }
            writer.join();
            assertArrayEquals(sent, loop.received(id));
        }
    }

    static byte[] pattern(int size) {
        byte[] data = new byte[size];
        for (int i = 0; i < size; i++) {
            data[i] = (byte) (i * 31 + (i >> 8));
        }
        return data;
    }

    static Thread writeFromThread(Socket socket, byte[] data) {
        Thread writer =
                new Thread(
                        () -> {
                            try {
                                socket.getOutputStream().write(data);
                            } catch (IOException e) {
                                // The test sees that the data is missing.
                            }
                        });
        writer.start();
        return writer;
    }

    @Test
    void aPausedConnectionGivesNoDataUntilItIsResumed() throws IOException {
        try (Socket peer = loop.dial(listener)) {
            int id = loop.accepted();
            loop.op(OperationBuffer.PAUSE_READ, id).poll(0);
            peer.getOutputStream().write(Loop.bytes("later"));
            loop.poll(50);
            assertEquals(0, loop.count(EventBuffer.DATA, id));
            loop.op(OperationBuffer.RESUME_READ, id);
            assertEquals("later", loop.await(EventBuffer.DATA, id).text());
        }
    }

    @Test
    void afterEofTheOtherDirectionGoesOn() throws IOException {
        try (Socket peer = loop.dial(listener)) {
            int id = loop.accepted();
            peer.getOutputStream().write(Loop.bytes("question"));
            peer.shutdownOutput();
            loop.await(EventBuffer.EOF, id);
            assertEquals("question", new String(loop.received(id)));
            // Nothing is ready any more, so the wait takes its time; a second EOF would end it.
            assertEquals(List.of(), loop.poll(30));
            loop.write(id, Loop.bytes("answer")).op(OperationBuffer.CLOSE, id);
            assertEquals(0, loop.await(EventBuffer.CLOSED, id).arg());
            assertArrayEquals(Loop.bytes("answer"), peer.getInputStream().readAllBytes());
        }
    }

    @Test
    void ourHalfCanEndFirst() throws IOException {
        try (Socket peer = loop.dial(listener)) {
            int id = loop.accepted();
            loop.write(id, Loop.bytes("all")).op(OperationBuffer.WRITE_EOF, id).write(id, Loop.bytes("late")).poll(0);
            assertArrayEquals(Loop.bytes("all"), peer.getInputStream().readAllBytes());
            peer.getOutputStream().write(Loop.bytes("thanks"));
            assertEquals("thanks", loop.await(EventBuffer.DATA, id).text());
            assertEquals(0, loop.count(EventBuffer.CLOSED, id));
        }
    }

    @Test
    void aResetIsToldByItsName() throws IOException {
        Socket peer = loop.dial(listener);
        int id = loop.accepted();
        peer.setSoLinger(true, 0);
        peer.close();
        Loop.Event event = loop.await(EventBuffer.CLOSED, id);
        assertEquals(1, event.arg());
        assertEquals("ECONNRESET", event.text());
        assertEquals(0, loop.pump.connections());
    }

    @Test
    void abortResetsThePeer() throws IOException {
        try (Socket peer = loop.dial(listener)) {
            int id = loop.accepted();
            loop.op(OperationBuffer.ABORT, id);
            assertEquals(0, loop.await(EventBuffer.CLOSED, id).arg());
            assertThrows(IOException.class, () -> peer.getInputStream().read());
        }
    }

    @Test
    void closedIsTheLastEventAndComesOnce() throws IOException {
        try (Socket peer = loop.dial(listener)) {
            int id = loop.accepted();
            peer.getOutputStream().write(Loop.bytes("unread"));
            loop.op(OperationBuffer.CLOSE, id).op(OperationBuffer.CLOSE, id);
            loop.op(OperationBuffer.ABORT, id).write(id, Loop.bytes("x"));
            loop.await(EventBuffer.CLOSED, id);
            loop.op(OperationBuffer.ABORT, id).op(OperationBuffer.WRITE_EOF, id);
            loop.op(OperationBuffer.RESUME_READ, id).poll(20);
            assertEquals(1, loop.count(EventBuffer.CLOSED, id));
            assertEquals(id, loop.events.get(loop.events.size() - 1).id());
        }
    }

    @Test
    void anIdIsStaleAfterClosedAlsoWhenItsSlotIsUsedAgain() throws IOException {
        try (Socket peer = loop.dial(listener)) {
            int old = loop.accepted();
            loop.op(OperationBuffer.ABORT, old);
            loop.await(EventBuffer.CLOSED, old);
            try (Socket next = loop.dial(listener)) {
                int id = loop.accepted();
                assertEquals(old & 0xfffff, id & 0xfffff, "the slot");
                assertTrue(old != id);
                loop.write(old, Loop.bytes("wrong")).op(OperationBuffer.ABORT, old);
                loop.write(id, Loop.bytes("right")).poll(0);
                assertArrayEquals(Loop.bytes("right"), next.getInputStream().readNBytes(5));
                PumpException error = assertThrows(PumpException.class, () -> loop.pump.localAddress(old));
                assertEquals("EBADF", error.code());
            }
        }
    }

    @Test
    void connectingTellsThePeer() throws IOException {
        int id = loop.pump.connectTcp("127.0.0.1", loop.port(listener), "");
        Loop.Event event = loop.await(EventBuffer.CONNECTED, id);
        assertEquals("127.0.0.1\n" + loop.port(listener), event.text());
        loop.write(id, Loop.bytes("hello"));
        int other = loop.await(e -> e.kind() == EventBuffer.ACCEPTED).id();
        assertEquals("hello", loop.await(EventBuffer.DATA, other).text());
    }

    @Test
    void whatIsWrittenBeforeTheConnectionIsThereIsRefused() throws IOException {
        int id = loop.pump.connectTcp("127.0.0.1", loop.port(listener), "127.0.0.1");
        loop.write(id, Loop.bytes("early")).op(OperationBuffer.WRITE_EOF, id).poll(0);
        assertEquals(5, loop.refused);
        loop.await(EventBuffer.WRITABLE, id);
        loop.write(id, Loop.bytes("later")).op(OperationBuffer.WRITE_EOF, id);
        int other = loop.await(event -> event.kind() == EventBuffer.ACCEPTED).id();
        loop.await(EventBuffer.EOF, other);
        assertEquals("later", new String(loop.received(other)));
    }

    @Test
    void aRefusedConnectionIsToldByItsName() throws IOException {
        int port;
        try (ServerSocket unused = new ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"))) {
            port = unused.getLocalPort();
        }
        int id = loop.pump.connectTcp("127.0.0.1", port, "");
        assertEquals("ECONNREFUSED", loop.await(EventBuffer.CLOSED, id).text());
        assertEquals(0, loop.count(EventBuffer.CONNECTED, id));
        assertEquals(0, loop.pump.connections());
    }

    @Test
    void anAddressThatIsNotOursCannotBeBound() throws IOException {
        assertEquals(
                "EADDRNOTAVAIL",
                assertThrows(PumpException.class, () -> loop.pump.listenTcp("192.0.2.1", 0, 1, false)).code());
        int id = loop.pump.connectTcp("127.0.0.1", 9, "192.0.2.1");
        assertEquals("EADDRNOTAVAIL", loop.await(EventBuffer.CLOSED, id).text());
    }

    @Test
    void aPortIsInUseUntilItsListenerIsClosed() throws IOException {
        int port = loop.port(listener);
        PumpException error =
                assertThrows(PumpException.class, () -> loop.pump.listenTcp("127.0.0.1", port, 1, false));
        assertEquals("EADDRINUSE", error.code());
        loop.pump.closeListener(listener);
        int again = loop.pump.listenTcp("127.0.0.1", port, 1, false);
        assertFalse(again == listener);
        loop.pump.closeListener(again);
    }

    @Test
    void twoCanListenOnOnePortIfBothSaySo() throws IOException {
        int first = loop.pump.listenTcp("127.0.0.1", 0, 1, true);
        int second = loop.pump.listenTcp("127.0.0.1", loop.port(first), 1, true);
        assertEquals(loop.port(first), loop.port(second));
    }

    @Test
    void listenersStartPausedAndCanPause() throws IOException {
        int paused = loop.pump.listenTcp("127.0.0.1", 0, 10, false);
        try (Socket one = loop.dial(paused)) {
            assertEquals(List.of(), loop.poll(30));
            loop.pump.resumeAccepting(paused);
            loop.accepted();
            loop.pump.pauseAccepting(paused);
            try (Socket two = loop.dial(paused)) {
                assertEquals(List.of(), loop.poll(30));
                assertTrue(one.isConnected() && two.isConnected());
            }
        }
    }

    @Test
    void allAddressesMeansBothFamilies() throws IOException {
        int all = loop.pump.listenTcp("", 0, 10, false);
        loop.pump.resumeAccepting(all);
        try (Socket four = loop.dial(all)) {
            Loop.Event event = loop.await(e -> e.kind() == EventBuffer.ACCEPTED);
            assertEquals("127.0.0.1\n" + four.getLocalPort(), event.text(), "not the mapped form");
        }
    }

    @Test
    void closingClosesEverything() throws IOException {
        try (Socket peer = loop.dial(listener)) {
            loop.accepted();
            int port = loop.port(listener);
            loop.close();
            loop.close();
            assertEquals(-1, peer.getInputStream().read());
            try (ServerSocket free = new ServerSocket()) {
                free.setReuseAddress(true);
                free.bind(new java.net.InetSocketAddress("127.0.0.1", port));
            }
            assertEquals("EBADF", assertThrows(PumpException.class, () -> loop.pump.poll(0, 0)).code());
        }
    }
}
