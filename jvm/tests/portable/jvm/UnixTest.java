package portable.jvm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Unix sockets. */
class UnixTest {
    @TempDir Path directory;
    private Loop loop;

    @BeforeEach
    void open() throws PumpException {
        loop = Loop.open();
    }

    @AfterEach
    void close() {
        loop.close();
    }

    private String path() {
        return directory.resolve("socket").toString();
    }

    @Test
    void bothEndsTalk() throws IOException {
        int listener = loop.pump.listenUnix(path(), 10);
        loop.pump.resumeAccepting(listener);
        int client = loop.pump.connectUnix(path());
        assertEquals(path(), loop.await(EventBuffer.CONNECTED, client).text());
        Loop.Event accepted = loop.await(e -> e.kind() == EventBuffer.ACCEPTED);
        assertEquals("", accepted.text());
        int server = accepted.id();
        loop.write(client, Loop.bytes("ping")).op(OperationBuffer.WRITE_EOF, client);
        loop.await(EventBuffer.EOF, server);
        loop.write(server, Loop.bytes("pong")).op(OperationBuffer.CLOSE, server);
        loop.await(EventBuffer.EOF, client);
        assertArrayEquals(Loop.bytes("ping"), loop.received(server));
        assertArrayEquals(Loop.bytes("pong"), loop.received(client));
        assertEquals(path(), loop.pump.localAddress(listener));
        assertEquals(path(), loop.pump.remoteAddress(client));
    }

    @Test
    void abortEndsTheStream() throws IOException {
        int listener = loop.pump.listenUnix(path(), 10);
        loop.pump.resumeAccepting(listener);
        int client = loop.pump.connectUnix(path());
        int server = loop.await(e -> e.kind() == EventBuffer.ACCEPTED).id();
        loop.await(EventBuffer.CONNECTED, client);
        loop.op(OperationBuffer.ABORT, server);
        assertEquals(0, loop.await(EventBuffer.CLOSED, server).arg());
        loop.await(EventBuffer.EOF, client);
    }

    @Test
    void failuresHaveTheirNames() throws IOException {
        assertEquals("ENOENT", failure(path()));
        Files.writeString(directory.resolve("socket"), "a file");
        assertEquals("ECONNREFUSED", failure(path()));
        assertEquals("EADDRINUSE", listenFailure(path()));
        assertEquals("ENOENT", listenFailure(directory.resolve("no/such").toString()));
        assertEquals("ENAMETOOLONG", listenFailure(path() + "x".repeat(200)));
        assertEquals("EINVAL", listenFailure("nul\0"));
    }

    private String failure(String path) throws PumpException {
        int id = loop.pump.connectUnix(path);
        Loop.Event event = loop.await(EventBuffer.CLOSED, id);
        assertEquals(1, event.arg());
        return event.text();
    }

    private String listenFailure(String path) {
        return assertThrows(PumpException.class, () -> loop.pump.listenUnix(path, 1)).code();
    }

    @Test
    void aFullQueueIsToldByItsName() throws IOException {
        loop.pump.listenUnix(path(), 1);
        for (int i = 0; i < 4; i++) {
            loop.pump.connectUnix(path());
        }
        Loop.Event event = loop.await(e -> e.kind() == EventBuffer.CLOSED);
        assertEquals(List.of(1, "EAGAIN"), List.of(event.arg(), event.text()));
    }
}
