package portable.jvm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Peers that read slowly or not at all. */
class BacklogTest {
    private static final int PIECE = 512 * 1024;

    private Loop loop;
    private Socket peer;
    private int id;
    private long idle; // direct memory with nothing to do
    private final ByteArrayOutputStream given = new ByteArrayOutputStream();

    @BeforeEach
    void open() throws IOException {
        loop = Loop.open();
        idle = loop.pump.directBytes();
        peer = loop.dial(loop.listen());
        id = loop.accepted();
    }

    @AfterEach
    void close() throws IOException {
        peer.close();
        loop.close();
    }

    /** Writes until the kernel takes no more; returns how much waits in the pump. */
    private int fill() throws PumpException {
        while (loop.count(EventBuffer.BACKLOG, id) == 0) {
            byte[] piece = StreamTest.pattern(PIECE);
            given.writeBytes(piece);
            loop.write(id, piece).poll(0);
        }
        return lastBacklog();
    }

    private int lastBacklog() {
        int last = 0;
        for (Loop.Event event : loop.events) {
            if (event.kind() == EventBuffer.BACKLOG) {
                last = event.arg();
            }
        }
        return last;
    }

    private byte[] readWhilePolling(int count) throws Exception {
        byte[] data = new byte[count];
        Thread reader =
                new Thread(
                        () -> {
                            try {
                                peer.getInputStream().readNBytes(data, 0, count);
                            } catch (IOException e) {
                                // The test sees zeros.
                            }
                        });
        reader.start();
        loop.until(() -> !reader.isAlive());
        return data;
    }

    @Test
    void noBacklogIsToldWhenTheKernelTakesEverything() throws IOException {
        loop.write(id, new byte[1000]).poll(0);
        loop.poll(10);
        assertEquals(0, loop.count(EventBuffer.BACKLOG, id));
    }

    @Test
    void theBacklogIsToldExactlyAndOnlyWhenItChanges() throws Exception {
        int backlog = fill();
        assertTrue(0 < backlog && backlog <= PIECE, "backlog " + backlog);
        assertEquals(List.of(), loop.poll(20), "nothing has changed");
        loop.write(id, new byte[1000]).write(id, new byte[234]);
        given.writeBytes(new byte[1234]);
        List<Loop.Event> fresh = loop.poll(0);
        assertEquals(1, fresh.size());
        assertEquals(EventBuffer.BACKLOG, fresh.get(0).kind());
        assertEquals(backlog + 1234, fresh.get(0).arg());
        assertArrayEquals(given.toByteArray(), readWhilePolling(given.size()));
        loop.until(() -> lastBacklog() == 0);
        assertEquals(List.of(), loop.poll(20), "0 is told once");
    }

    @Test
    void smallWritesShareBuffers() throws IOException {
        fill();
        long before = loop.pump.directBytes();
        for (int i = 0; i < 1000; i++) {
            loop.write(id, new byte[60]).op(Pump.RESUME_READ, id);
        }
        loop.poll(0);
        assertTrue(loop.pump.directBytes() - before <= 2 * BufferPool.SIZE);
    }

    @Test
    void closeWaitsForTheBacklog() throws Exception {
        fill();
        loop.op(Pump.CLOSE, id).poll(20);
        assertEquals(0, loop.count(EventBuffer.CLOSED, id));
        assertArrayEquals(given.toByteArray(), readWhilePolling(given.size()));
        assertEquals(0, loop.await(EventBuffer.CLOSED, id).arg());
        assertEquals(-1, peer.getInputStream().read());
    }

    @Test
    void theEndOfOurHalfWaitsForTheBacklog() throws Exception {
        fill();
        loop.op(Pump.WRITE_EOF, id).poll(20);
        assertArrayEquals(given.toByteArray(), readWhilePolling(given.size()));
        assertEquals(-1, peer.getInputStream().read());
        peer.getOutputStream().write('x');
        loop.await(EventBuffer.DATA, id);
    }

    @Test
    void abortDropsTheBacklogAndGivesItsMemoryBack() throws IOException {
        fill();
        assertTrue(loop.pump.directBytes() > idle);
        loop.op(Pump.ABORT, id);
        loop.await(EventBuffer.CLOSED, id);
        assertTrue(loop.pump.directBytes() <= idle + 16 * BufferPool.SIZE);
    }

    @Test
    void aPeerThatGoesAwayEndsAWaitingClose() throws IOException {
        fill();
        loop.op(Pump.CLOSE, id).poll(0);
        peer.setSoLinger(true, 0);
        peer.close();
        Loop.Event event = loop.await(EventBuffer.CLOSED, id);
        assertEquals(1, event.arg());
        assertTrue(List.of("ECONNRESET", "EPIPE").contains(event.text()), event.text());
    }

    @Test
    void poolsAreBounded() {
        BufferPool pool = new BufferPool();
        List<java.nio.ByteBuffer> taken = new java.util.ArrayList<>();
        for (int i = 0; i < 200; i++) {
            taken.add(pool.take());
        }
        assertEquals(200L * BufferPool.SIZE, pool.bytes());
        java.nio.ByteBuffer last = taken.remove(taken.size() - 1);
        taken.forEach(pool::give);
        assertEquals(65L * BufferPool.SIZE, pool.bytes());
        pool.give(last);
        assertEquals(16L * BufferPool.SIZE, pool.bytes());
    }
}
