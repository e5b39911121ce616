package portable.jvm;

import java.io.IOException;
import java.net.Inet4Address;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.net.SocketAddress;
import java.net.SocketException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.net.UnknownHostException;
import java.util.HashMap;
import java.util.Map;

/** Addresses as texts and back: literals only, so that nothing here ever asks a name server. */
final class Addresses {
    private static final int MAX_PORT = 65535;
    // Texts remembered for SENDTO. A server that answers more peers than that parses again.
    private static final int MOST_KNOWN = 1024;

    private final Map<String, InetSocketAddress> known = new HashMap<>();

    /** Returns where to send for "host\nport", from memory if it was asked for lately. */
    InetSocketAddress parse(String text) throws PumpException {
        InetSocketAddress address = known.get(text);
        if (address == null) {
            int cut = text.indexOf('\n');
            try {
                address = of(text.substring(0, cut), Integer.parseInt(text.substring(cut + 1)));
            } catch (IndexOutOfBoundsException | NumberFormatException e) {
                throw new PumpException("EINVAL", "not an address: " + text);
            }
            if (address.getPort() == 0) {
                throw new PumpException("EINVAL", "nobody has port 0: " + text);
            }
            if (known.size() >= MOST_KNOWN) {
                known.clear();
            }
            known.put(text, address);
        }
        return address;
    }

    /** Returns the address of a literal `host` and a `port`. */
    static InetSocketAddress of(String host, int port) throws PumpException {
        return new InetSocketAddress(literal(host), checked(port));
    }

    /** Returns where to bind: all addresses if `host` is empty. */
    static InetSocketAddress toBind(String host, int port) throws PumpException {
        return host.isEmpty() ? new InetSocketAddress(checked(port)) : of(host, port);
    }

    static StandardProtocolFamily family(InetSocketAddress address) {
        return address.getAddress() instanceof Inet4Address
                ? StandardProtocolFamily.INET
                : StandardProtocolFamily.INET6;
    }

    private static int checked(int port) throws PumpException {
        if (port < 0 || port > MAX_PORT) {
            throw new PumpException("EINVAL", "ports go from 0 to " + MAX_PORT + ", not " + port);
        }
        return port;
    }

    private static InetAddress literal(String host) throws PumpException {
        try {
            if (host.indexOf(':') < 0) {
                return InetAddress.getByAddress(ipv4(host));
            }
            // With another first character Java takes it for a name and asks for it.
            if (host.charAt(0) == ':' || Character.digit(host.charAt(0), 16) >= 0) {
                return InetAddress.getByName(host);
            }
        } catch (UnknownHostException | NumberFormatException e) {
            if (host.indexOf('%') >= 0) {
                throw new PumpException("ENODEV", "no such interface: " + host);
            }
        }
        throw new PumpException("EINVAL", "not an IP address: " + host);
    }

    private static byte[] ipv4(String host) {
        String[] parts = host.split("\\.", -1);
        byte[] bytes = new byte[4];
        if (parts.length != bytes.length) {
            throw new NumberFormatException(host);
        }
        for (int i = 0; i < bytes.length; i++) {
            if (parts[i].length() > 3 || !parts[i].chars().allMatch(c -> c >= '0' && c <= '9')) {
                throw new NumberFormatException(host);
            }
            int value = Integer.parseInt(parts[i]);
            if (value > 255) {
                throw new NumberFormatException(host);
            }
            bytes[i] = (byte) value;
        }
        return bytes;
    }

    /** Returns "host\nport", or the path of a Unix socket ("" if it has none). */
    static String text(SocketAddress address) throws PumpException {
        if (address instanceof InetSocketAddress inet) {
            return host(inet.getAddress()) + '\n' + inet.getPort();
        }
        if (address instanceof UnixDomainSocketAddress unix) {
            return unix.getPath().toString();
        }
        throw new PumpException("ENOTCONN", "there is no such address");
    }

    private static String host(InetAddress address) {
        if (address instanceof Inet6Address six) {
            String text = compressed(six.getAddress());
            return six.getScopeId() > 0 ? text + '%' + interfaceName(six) : text;
        }
        return address.getHostAddress();
    }

    private static String interfaceName(Inet6Address address) {
        NetworkInterface card = address.getScopedInterface();
        try {
            if (card == null) {
                card = NetworkInterface.getByIndex(address.getScopeId());
            }
        } catch (SocketException e) {
            card = null;
        }
        return card == null ? Integer.toString(address.getScopeId()) : card.getName();
    }

    /** Writes an IPv6 address as RFC 5952 wants it; Java itself writes all the zeros. */
    private static String compressed(byte[] bytes) {
        int[] groups = new int[8];
        for (int i = 0; i < 8; i++) {
            groups[i] = (bytes[2 * i] & 0xff) << 8 | bytes[2 * i + 1] & 0xff;
        }
        int from = -1;
        int length = 1; // RFC 5952 4.2.2: one group of zeros is written out
        for (int i = 0; i < 8; i++) {
            int end = i;
            while (end < 8 && groups[end] == 0) {
                end++;
            }
            if (end - i > length) {
                from = i;
                length = end - i;
            }
            i = end > i ? end - 1 : i;
        }
        StringBuilder text = new StringBuilder(39);
        for (int i = 0; i < 8; i++) {
            if (i == from) {
                text.append("::");
                i += length - 1;
            } else {
                if (text.length() > 0 && text.charAt(text.length() - 1) != ':') {
                    text.append(':');
                }
                text.append(Integer.toHexString(groups[i]));
            }
        }
        return text.toString();
    }

    /** Returns `address` as text, "" if it cannot be told any more. */
    static String textOrNothing(SocketAddressSource source) {
        try {
            SocketAddress address = source.get();
            return address == null ? "" : text(address);
        } catch (IOException e) {
            return "";
        }
    }

    /** A channel's method that tells an address. */
    interface SocketAddressSource {
        SocketAddress get() throws IOException;
    }
}
