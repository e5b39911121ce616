package portable.jvm;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.net.BindException;
import java.net.ConnectException;
import java.net.NoRouteToHostException;
import java.net.SocketException;
import java.nio.channels.ClosedChannelException;
import org.junit.jupiter.api.Test;

/** Exceptions and the errno names they came from. */
class ErrnoNamesTest {
    @Test
    void theTextIsAskedFirst() {
        assertEquals("ECONNREFUSED", ErrnoNames.of(new ConnectException("Connection refused")));
        assertEquals("ETIMEDOUT", ErrnoNames.of(new ConnectException("Connection timed out")));
        assertEquals("ENETUNREACH", ErrnoNames.of(new ConnectException("Network is unreachable")));
        assertEquals("EADDRNOTAVAIL", ErrnoNames.of(new BindException("Cannot assign requested address (Bind failed)")));
        assertEquals("ECONNRESET", ErrnoNames.of(new SocketException("Connection reset")));
        assertEquals("EPIPE", ErrnoNames.of(new IOException("Broken pipe")));
        assertEquals("EMFILE", ErrnoNames.of(new IOException("Too many open files")));
    }

    @Test
    void theTextMayBeInTheLanguageOfTheProcess() {
        ErrnoNames.learn("EPIPE Datenübergabe unterbrochen (broken pipe)\nEADDRNOTAVAIL Adresse gibt es nicht");
        try {
            assertEquals("EPIPE", ErrnoNames.of(new IOException("Datenübergabe unterbrochen (broken pipe)")));
            assertEquals("EADDRNOTAVAIL", ErrnoNames.of(new BindException("Adresse gibt es nicht (Bind failed)")));
            // Java's own words stay English.
            assertEquals("ECONNRESET", ErrnoNames.of(new SocketException("Connection reset")));
        } finally {
            ErrnoNames.learn("EPIPE Broken pipe");
        }
    }

    @Test
    void thenTheClass() {
        assertEquals("ECONNREFUSED", ErrnoNames.of(new ConnectException("Verbindungsaufbau abgelehnt")));
        assertEquals("EHOSTUNREACH", ErrnoNames.of(new NoRouteToHostException()));
        assertEquals("EADDRINUSE", ErrnoNames.of(new BindException("(irgendwas)")));
        assertEquals("EBADF", ErrnoNames.of(new ClosedChannelException()));
        assertEquals("ENOBUFS", ErrnoNames.of(new OutOfMemoryError("Cannot reserve")));
        assertEquals("EINVAL", ErrnoNames.of(new IllegalArgumentException("port")));
        assertEquals("EIO", ErrnoNames.of(new IOException("a new one (yet)")));
    }
}
