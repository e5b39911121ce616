package portable.jvm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.Socket;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Peers that read slowly or not at all. */
class RefusalTest {
    private static final int PIECE = 512 * 1024;

    private Loop loop;
    private Socket peer;
    private int id;

    @BeforeEach
    void open() throws IOException {
        loop = Loop.open();
        peer = loop.dial(loop.listen());
        id = loop.accepted();
    }

    @AfterEach
    void close() throws IOException {
        peer.close();
        loop.close();
    }

    /** Writes until the kernel takes no more; returns how many bytes it took. */
    private int fill() throws PumpException {
        int taken = 0;
        do {
            loop.write(id, new byte[PIECE]).poll(0);
            taken += PIECE - loop.refused;
        } while (loop.refused == 0);
        return taken;
    }

    private byte[] read(int count) throws IOException {
        return peer.getInputStream().readNBytes(count);
    }

    @Test
    void nothingIsToldWhenTheKernelTakesEverything() throws IOException {
        assertEquals(List.of(), loop.write(id, new byte[1000]).poll(0));
        assertEquals(0, loop.refused);
        assertEquals(List.of(), loop.poll(10));
    }

    @Test
    void theRestIsRefusedAndSoIsEverythingUntilWritableWasTold() throws Exception {
        int taken = fill();
        assertEquals(List.of(), loop.poll(20), "nothing has changed");
        loop.write(id, new byte[1000]).op(OperationBuffer.RESUME_READ, id).write(id, new byte[234]).poll(0);
        assertEquals(1234, loop.refused);
        read(taken);
        loop.await(EventBuffer.WRITABLE, id);
        assertEquals(List.of(), loop.poll(20), "it is told once");
        loop.write(id, Loop.bytes("more")).poll(0);
        assertEquals(0, loop.refused);
        assertArrayEquals(Loop.bytes("more"), read(4));
    }

    @Test
    void ofWritesThatFollowEachOtherTheLastAreRefused() throws IOException {
        int taken = fill();
        read(taken);
        loop.await(EventBuffer.WRITABLE, id);
        byte[] given = StreamTest.pattern(1_000_000);
        int[] lengths = new int[10];
        int fits = 0;
        while (loop.refused == 0 || fits == 0) {
            for (int i = 0; i < lengths.length; i++) {
                loop.write(id, Arrays.copyOfRange(given, i * 100_000, (i + 1) * 100_000));
            }
            loop.poll(0);
            fits = 0;
            for (int i = 0; i < lengths.length; i++) {
                lengths[i] = loop.pump.opHeaders().getInt(i * 16 + 12);
                fits += lengths[i];
            }
            if (loop.refused == 0) {
                read(fits / 2);
            } else if (fits == 0) {
                loop.until(() -> loop.count(EventBuffer.WRITABLE, id) > 1);
            }
        }
        assertEquals(1_000_000, fits + loop.refused);
        for (int i = 1; i < lengths.length; i++) {
            assertTrue(lengths[i] == 0 || lengths[i - 1] == 100_000, Arrays.toString(lengths));
        }
    }

    @Test
    void endsAreIgnoredUntilTheRestIsTaken() throws Exception {
        int taken = fill();
        loop.op(OperationBuffer.WRITE_EOF, id).op(OperationBuffer.CLOSE, id).poll(20);
        assertEquals(0, loop.count(EventBuffer.CLOSED, id));
        read(taken);
        loop.await(EventBuffer.WRITABLE, id);
        loop.write(id, Loop.bytes("rest")).op(OperationBuffer.WRITE_EOF, id).op(OperationBuffer.CLOSE, id);
        assertEquals(0, loop.await(EventBuffer.CLOSED, id).arg());
        assertArrayEquals(Loop.bytes("rest"), peer.getInputStream().readAllBytes());
    }

    @Test
    void writesAreRefusedInTheTurnInWhichTheyAreTooLongAlsoWithoutAPoll() throws IOException {
        fill();
        loop.write(id, new byte[10]);
        assertTrue(loop.pump.apply(1));
        assertEquals(0, loop.pump.opHeaders().getInt(12));
    }

    @Test
    void aRefusalIsToldBeforeTheWait() throws Exception {
        fill();
        loop.write(id, new byte[10]);
        assertTimeoutPreemptively(Duration.ofNanos(Loop.PATIENCE), () -> loop.poll(-1));
        assertEquals(10, loop.refused);
    }

    @Test
    void whatFailsIsRefusedWhole() throws IOException {
        int before = loop.events.size();
        fill();
        peer.setSoLinger(true, 0);
        peer.close();
        // The selector tells a failure as it tells room; what failed, the next call says.
        loop.until(() -> loop.events.size() > before);
        if (loop.count(EventBuffer.CLOSED, id) == 0) {
            loop.write(id, new byte[10]).poll(0);
            assertEquals(10, loop.refused);
        }
        Loop.Event event = loop.await(EventBuffer.CLOSED, id);
        assertEquals(1, event.arg());
        assertTrue(List.of("ECONNRESET", "EPIPE").contains(event.text()), event.text());
    }

    @Test
    void nothingIsKept() throws IOException {
        long idle = loop.pump.directBytes();
        fill();
        assertEquals(idle, loop.pump.directBytes());
    }
}
