package portable.jvm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** UDP sockets. */
class DatagramTest {
    private Loop loop;
    private int server;

    @BeforeEach
    void open() throws PumpException {
        loop = Loop.open();
        server = loop.pump.bindUdp("127.0.0.1", 0, false);
    }

    @AfterEach
    void close() {
        loop.close();
    }

    private static byte[] content(Loop.Event event) {
        return Arrays.copyOfRange(event.payload(), event.arg(), event.payload().length);
    }

    private static String sender(Loop.Event event) {
        return new String(event.payload(), 0, event.arg());
    }

    @Test
    void datagramsComeWithTheirSenderAndCanBeAnswered() throws IOException {
        int client = loop.pump.bindUdp("127.0.0.1", 0, false);
        loop.sendTo(client, loop.pump.localAddress(server), Loop.bytes("ping"));
        Loop.Event event = loop.await(EventBuffer.DATAGRAM, server);
        assertEquals(loop.pump.localAddress(client), sender(event));
        assertArrayEquals(Loop.bytes("ping"), content(event));
        loop.sendTo(server, sender(event), Loop.bytes("pong"));
        assertArrayEquals(Loop.bytes("pong"), content(loop.await(EventBuffer.DATAGRAM, client)));
    }

    @Test
    void aConnectedSocketNeedsNoAddress() throws IOException {
        int client = loop.pump.connectUdp("127.0.0.1", loop.port(server));
        loop.sendTo(client, "", Loop.bytes("hi"));
        Loop.Event event = loop.await(EventBuffer.DATAGRAM, server);
        assertEquals(loop.pump.localAddress(client), sender(event));
        assertEquals(loop.pump.localAddress(server), loop.pump.remoteAddress(client));
        loop.sendTo(server, sender(event), Loop.bytes("ho"));
        assertArrayEquals(Loop.bytes("ho"), content(loop.await(EventBuffer.DATAGRAM, client)));
    }

    @Test
    void emptyAndLongDatagramsPass() throws IOException {
        byte[] longest = StreamTest.pattern(65507);
        String to = loop.pump.localAddress(server);
        loop.sendTo(server, to, new byte[0]).sendTo(server, to, longest);
        loop.until(() -> loop.count(EventBuffer.DATAGRAM, server) == 2);
        assertEquals(0, content(loop.events.get(0)).length);
        assertArrayEquals(longest, content(loop.events.get(1)));
    }

    @Test
    void manyLongDatagramsWaitForRoom() throws IOException {
        String to = loop.pump.localAddress(server);
        int client = loop.pump.bindUdp("127.0.0.1", 0, false);
        try (Loop small = new Loop(new Pump(64, 128 * 1024, 64, 1024))) {
            int receiver = small.pump.bindUdp("127.0.0.1", 0, false);
            for (int i = 0; i < 3; i++) {
                loop.sendTo(client, small.pump.localAddress(receiver), new byte[60_000]).poll(0);
            }
            small.until(() -> small.count(EventBuffer.DATAGRAM, receiver) == 3);
        }
        assertTrue(to.startsWith("127.0.0.1\n"));
    }

    @Test
    void errorsAreToldAndTheSocketLivesOn() throws IOException {
        int gone = loop.pump.bindUdp("127.0.0.1", 0, false);
        int port = loop.port(gone);
        loop.op(OperationBuffer.CLOSE, gone);
        loop.await(EventBuffer.CLOSED, gone);
        loop.poll(0); // the selector lets go of it
        int client = loop.pump.connectUdp("127.0.0.1", port);
        loop.sendTo(client, "", Loop.bytes("anybody?"));
        assertEquals("ECONNREFUSED", loop.await(EventBuffer.ERROR, client).text());
        loop.sendTo(server, loop.pump.localAddress(server), new byte[65508]);
        assertEquals("EMSGSIZE", loop.await(EventBuffer.ERROR, server).text());
        loop.sendTo(server, loop.pump.localAddress(server), Loop.bytes("alive"));
        loop.await(EventBuffer.DATAGRAM, server);
    }

    @Test
    void badAddressesAreErrors() throws IOException {
        for (String address : List.of("nonsense", "127.0.0.1\n99999", "example.com\n9", "127.0.0.1\nx", "::1\n0")) {
            loop.events.clear();
            loop.sendTo(server, address, Loop.bytes("x"));
            assertEquals("EINVAL", loop.await(EventBuffer.ERROR, server).text(), address);
        }
        loop.events.clear();
        loop.sendTo(server, "::1\n9", Loop.bytes("x"));
        assertEquals("EAFNOSUPPORT", loop.await(EventBuffer.ERROR, server).text());
    }

    @Test
    void eachErrorOfATurnIsTold() throws IOException {
        loop.sendTo(server, "nonsense", Loop.bytes("x")).sendTo(server, "::1\n9", Loop.bytes("x")).poll(0);
        loop.until(() -> loop.count(EventBuffer.ERROR, server) == 2);
        assertEquals(List.of("EINVAL", "EAFNOSUPPORT"), loop.events.stream().map(Loop.Event::text).toList());
    }

    @Test
    void pausedSocketsReceiveLater() throws IOException {
        loop.op(OperationBuffer.PAUSE_READ, server).sendTo(server, loop.pump.localAddress(server), Loop.bytes("x"));
        assertEquals(List.of(), loop.poll(30));
        loop.op(OperationBuffer.RESUME_READ, server);
        loop.await(EventBuffer.DATAGRAM, server);
    }

    @Test
    void closedIsTold() throws IOException {
        for (int kind : new int[] {OperationBuffer.CLOSE, OperationBuffer.ABORT}) {
            int id = loop.pump.bindUdp("127.0.0.1", 0, false);
            loop.op(kind, id).sendTo(id, loop.pump.localAddress(id), Loop.bytes("late"));
            assertEquals(0, loop.await(EventBuffer.CLOSED, id).arg());
            assertThrows(PumpException.class, () -> loop.pump.localAddress(id));
        }
    }
}
