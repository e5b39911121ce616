package portable.jvm;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.nio.charset.StandardCharsets;

/**
 * The events of one turn: records of four ints (kind, id, arg, length) and, in the same order, their payloads.
 *
 * <p>Data may not fill it: some records and bytes are kept back for connections that open and close, or those
 * would wait for as long as others send as fast as they can.
 */
final class EventBuffer {
    static final int ACCEPTED = 1;
    static final int CONNECTED = 2;
    static final int DATA = 3;
    static final int EOF = 4;
    static final int CLOSED = 5;
    static final int WRITABLE = 6;
    static final int DATAGRAM = 7;
    static final int ERROR = 8;
    static final int STARVED = 9;

    /** Bytes in one record. */
    static final int RECORD = 16;
    /** The most bytes that an address or an errno name has; the longest is the path of a Unix socket. */
    static final int MAX_TEXT = 256;
    /** The most bytes in one DATA event. */
    static final int MAX_DATA = 64 * 1024;

    private static final int FIELDS = 4;
    // Bytes on top of what data may fill.
    private static final int TEXT_ROOM = 32 * 1024;

    final ByteBuffer headers;
    final ByteBuffer payloads;

    private final IntBuffer fields;
    private final ByteBuffer target; // the payloads, with a position of our own
    private final int maxRecords;
    private final int maxDataRecords;
    private final int maxDataBytes;
    private int records;
    private int bytes;

    EventBuffer(int maxRecords, int maxDataBytes) {
        this.maxRecords = maxRecords;
        this.maxDataRecords = maxRecords - maxRecords / 8;
        this.maxDataBytes = maxDataBytes;
        headers = ByteBuffer.allocateDirect((maxRecords + 1) * RECORD).order(ByteOrder.nativeOrder());
        payloads = ByteBuffer.allocateDirect(maxDataBytes + TEXT_ROOM).order(ByteOrder.nativeOrder());
        fields = headers.asIntBuffer();
        target = payloads.duplicate();
    }

    void clear() {
        records = 0;
        bytes = 0;
    }

    int records() {
        return records;
    }

    int bytes() {
        return bytes;
    }

    /** Returns whether one record without payload fits. */
    boolean hasRoom() {
        return records < maxRecords;
    }

    /** Returns whether one record with a text fits. */
    boolean hasRoomForText() {
        return records < maxRecords && bytes + MAX_TEXT <= payloads.capacity();
    }

    /** Returns for how many bytes of data there is room, `limit` at most; in few records. */
    int roomForData(int limit) {
        if (records + limit / MAX_DATA + 1 > maxDataRecords) {
            return 0;
        }
        return Math.min(maxDataBytes - bytes, limit);
    }

    /** Returns the payload buffer, ready to take `room` bytes. */
    ByteBuffer space(int room) {
        return target.limit(bytes + room).position(bytes);
    }

    /** Records an event; its `length` bytes of payload are in place. */
    void add(int kind, int id, int arg, int length) {
        int at = records * FIELDS;
        fields.put(at, kind);
        fields.put(at + 1, id);
        fields.put(at + 2, arg);
        fields.put(at + 3, length);
        records++;
        bytes += length;
    }

    /** Notes in the last record, which no event uses, what a poll is about to return. */
    void sum(int turn, boolean refused) {
        int at = maxRecords * FIELDS;
        fields.put(at, turn).put(at + 1, records).put(at + 2, bytes).put(at + 3, refused ? 1 : 0);
    }

    /** Records `length` bytes of data, in place, of a stream. */
    void addData(int id, int length) {
        int left = length;
        while (left > MAX_DATA) {
            add(DATA, id, 0, MAX_DATA);
            left -= MAX_DATA;
        }
        add(DATA, id, 0, left);
    }

    /** Records an event with a text, cut at MAX_TEXT bytes. */
    void addText(int kind, int id, int arg, String text) {
        byte[] encoded = text.getBytes(StandardCharsets.UTF_8);
        int length = Math.min(encoded.length, MAX_TEXT);
        space(length).put(encoded, 0, length);
        add(kind, id, arg, length);
    }
}
