package portable.jvm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.net.InetAddress;
import java.net.Socket;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** The pump without buffers. */
class ArrayPumpTest {
    @Test
    void eventsComeAndOperationsGoInArrays() throws Exception {
        try (ArrayPump pump = new ArrayPump(new Pump())) {
            int listener = pump.pump().listenTcp("127.0.0.1", 0, 1, false);
            pump.pump().resumeAccepting(listener);
            int port = Integer.parseInt(pump.pump().localAddress(listener).split("\n")[1]);
            try (Socket peer = new Socket(InetAddress.getByName("127.0.0.1"), port)) {
                assertEquals(1, (int) pump.poll(5000, 0));
                int[] event = Arrays.copyOf(pump.eventHeaders(), 4);
                assertArrayEquals(new int[] {EventBuffer.ACCEPTED, event[1], listener, event[3]}, event);
                String address = new String(pump.eventPayloads(), 0, event[3]);
                assertEquals("127.0.0.1\n" + peer.getLocalPort(), address);
                write(pump, event[1], "once");
                pump.apply(1);
                write(pump, event[1], "more");
                pump.poll(0, 1);
                assertEquals("oncemore", new String(peer.getInputStream().readNBytes(8)));
                peer.getOutputStream().write('x');
                long result = pump.poll(5000, 0);
                assertEquals(1 | 1L << 32, result);
                assertEquals('x', pump.eventPayloads()[0]);
            }
        }
    }

    private static void write(ArrayPump pump, int id, String text) {
        int[] header = {OperationBuffer.WRITE, id, 0, text.length()};
        System.arraycopy(header, 0, pump.opHeaders(), 0, 4);
        System.arraycopy(Loop.bytes(text), 0, pump.opPayloads(), 0, text.length());
    }
}
