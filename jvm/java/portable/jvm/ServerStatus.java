package portable.jvm;

import java.time.Duration;

/**
 * What a server was doing at one moment. The numbers of a server that has ended are its last.
 *
 * @param state where it is in its life
 * @param connections open now
 * @param accepted connections taken since the start
 * @param refused connections closed at once because of a limit
 * @param bytesReceived on the wire, since the start
 * @param bytesSent on the wire, since the start
 * @param loopLag the longest time in the last minute that one turn of the loop, the present one too, took for
 *     anything but waiting: nobody else is served meanwhile
 * @param uptime since the ports were bound; zero before
 */
public record ServerStatus(
        ServerState state,
        long connections,
        long accepted,
        long refused,
        long bytesReceived,
        long bytesSent,
        Duration loopLag,
        Duration uptime) {}
