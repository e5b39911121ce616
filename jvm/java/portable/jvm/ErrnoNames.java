package portable.jvm;

import java.net.BindException;
import java.net.ConnectException;
import java.net.NoRouteToHostException;
import java.net.PortUnreachableException;
import java.net.UnknownHostException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.ClosedSelectorException;
import java.nio.channels.NotYetConnectedException;
import java.nio.channels.UnresolvedAddressException;
import java.nio.channels.UnsupportedAddressTypeException;
import java.util.HashMap;
import java.util.Map;

/**
 * Turns Java's exceptions back into the errno names they were made from.
 *
 * <p>Java keeps the system's text and drops its number; classes tell refused from unreachable, but a time-out
 * and a refusal share one. So the text is asked first, in the language that the process has for messages and in
 * English, in which Java itself has some; then the class.
 */
final class ErrnoNames {
    private static final Map<String, String> IN_ENGLISH =
            Map.ofEntries(
                    Map.entry("Address already in use", "EADDRINUSE"),
                    Map.entry("Address family not supported by protocol", "EAFNOSUPPORT"),
                    Map.entry("Bad file descriptor", "EBADF"),
                    Map.entry("Broken pipe", "EPIPE"),
                    Map.entry("Can't assign requested address", "EADDRNOTAVAIL"),
                    Map.entry("Cannot allocate memory", "ENOMEM"),
                    Map.entry("Cannot assign requested address", "EADDRNOTAVAIL"),
                    Map.entry("Connection refused", "ECONNREFUSED"),
                    Map.entry("Connection reset", "ECONNRESET"),
                    Map.entry("Connection reset by peer", "ECONNRESET"),
                    Map.entry("Connection timed out", "ETIMEDOUT"),
                    Map.entry("Destination address required", "EDESTADDRREQ"),
                    Map.entry("File name too long", "ENAMETOOLONG"),
                    Map.entry("Host is down", "EHOSTDOWN"),
                    Map.entry("Invalid argument", "EINVAL"),
                    Map.entry("Is a directory", "EISDIR"),
                    Map.entry("Message too long", "EMSGSIZE"),
                    Map.entry("Network is down", "ENETDOWN"),
                    Map.entry("Network is unreachable", "ENETUNREACH"),
                    Map.entry("No buffer space available", "ENOBUFS"),
                    Map.entry("No route to host", "EHOSTUNREACH"),
                    Map.entry("No space left on device", "ENOSPC"),
                    Map.entry("No such device", "ENODEV"),
                    Map.entry("No such file or directory", "ENOENT"),
                    Map.entry("Not a directory", "ENOTDIR"),
                    Map.entry("Operation not permitted", "EPERM"),
                    Map.entry("Operation timed out", "ETIMEDOUT"),
                    Map.entry("Permission denied", "EACCES"),
                    Map.entry("Protocol not available", "ENOPROTOOPT"),
                    Map.entry("Protocol wrong type for socket", "EPROTOTYPE"),
                    Map.entry("Read-only file system", "EROFS"),
                    Map.entry("Resource temporarily unavailable", "EAGAIN"),
                    Map.entry("Socket is not connected", "ENOTCONN"),
                    Map.entry("Software caused connection abort", "ECONNABORTED"),
                    Map.entry("Too many open files", "EMFILE"),
                    Map.entry("Too many open files in system", "ENFILE"),
                    Map.entry("Transport endpoint is not connected", "ENOTCONN"),
                    Map.entry("Unix domain path too long", "ENAMETOOLONG"));

    // The language is the whole process's, and so are its texts.
    private static volatile Map<String, String> inItsLanguage = Map.of();

    private ErrnoNames() {}

    /** Takes the texts of this process's language: lines of a name, a blank and a text. */
    static void learn(String table) {
        Map<String, String> learned = new HashMap<>();
        for (String line : table.split("\n")) {
            int blank = line.indexOf(' ');
            learned.put(line.substring(blank + 1), line.substring(0, blank));
        }
        inItsLanguage = learned;
    }

    /** Returns the errno name for `problem`, "EIO" if nothing fits better. */
    static String of(Throwable problem) {
        if (problem instanceof PumpException known) {
            return known.code();
        }
        String text = problem.getMessage();
        if (text != null) {
            String name = ofText(text);
            if (name == null) {
                // Some places add "(Bind failed)" and the like.
                int extra = text.indexOf(" (");
                name = extra < 0 ? null : ofText(text.substring(0, extra));
            }
            if (name != null) {
                return name;
            }
        }
        return ofClass(problem);
    }

    private static String ofText(String text) {
        String name = inItsLanguage.get(text);
        return name == null ? IN_ENGLISH.get(text) : name;
    }

    private static String ofClass(Throwable problem) {
        if (problem instanceof PortUnreachableException || problem instanceof ConnectException) {
            return "ECONNREFUSED";
        }
        if (problem instanceof NoRouteToHostException) {
            return "EHOSTUNREACH";
        }
        if (problem instanceof BindException) {
            return "EADDRINUSE";
        }
        if (problem instanceof UnknownHostException || problem instanceof UnresolvedAddressException) {
            return "ENOTFOUND";
        }
        if (problem instanceof UnsupportedAddressTypeException
                || problem instanceof UnsupportedOperationException) {
            return "EAFNOSUPPORT";
        }
        if (problem instanceof ClosedChannelException || problem instanceof ClosedSelectorException) {
            return "EBADF";
        }
        if (problem instanceof NotYetConnectedException) {
            return "ENOTCONN";
        }
        if (problem instanceof SecurityException) {
            return "EACCES";
        }
        if (problem instanceof IllegalArgumentException) {
            return "EINVAL";
        }
        if (problem instanceof OutOfMemoryError) {
            return "ENOBUFS";
        }
        return "EIO";
    }
}
