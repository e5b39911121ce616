package portable.jvm;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;

/** The operations of one turn: records of four ints (kind, id, arg, length) and, in the same order, their payloads. */
final class OperationBuffer {
    static final int WRITE = 1;
    static final int CLOSE = 2;
    static final int ABORT = 3;
    static final int PAUSE_READ = 4;
    static final int RESUME_READ = 5;
    static final int WRITE_EOF = 6;
    static final int SENDTO = 7;

    private static final int FIELDS = 4;

    final ByteBuffer headers;
    final ByteBuffer payloads;

    private final IntBuffer fields;
    private final ByteBuffer source; // the payloads, with a position of our own

    OperationBuffer(int maxRecords, int maxBytes) {
        headers = ByteBuffer.allocateDirect(maxRecords * EventBuffer.RECORD).order(ByteOrder.nativeOrder());
        payloads = ByteBuffer.allocateDirect(maxBytes).order(ByteOrder.nativeOrder());
        fields = headers.asIntBuffer();
        source = payloads.duplicate();
    }

    /** Has `slots` do the first `count` operations; returns whether a WRITE or SENDTO was not taken whole. */
    boolean apply(int count, SlotTable slots) {
        boolean refused = false;
        int begin = 0;
        int i = 0;
        while (i < count) {
            int at = i * FIELDS;
            int kind = fields.get(at);
            int id = fields.get(at + 1);
            int arg = fields.get(at + 2);
            int end = begin + fields.get(at + 3);
            i++;
            if (kind == WRITE) {
                // Payloads follow each other, so writes that follow each other are one.
                while (i < count && fields.get(i * FIELDS) == WRITE && fields.get(i * FIELDS + 1) == id) {
                    end += fields.get(i * FIELDS + 3);
                    i++;
                }
            }
            Slot slot = slots.get(id);
            if (slot != null) {
                int left = slot.operate(kind, arg, source.limit(end).position(begin));
                if (left > 0) {
                    refused = true;
                    shorten(i, left);
                }
            }
            begin = end;
        }
        return refused;
    }

    /** Has the records before `end` tell that their last `refused` bytes were not taken. */
    private void shorten(int end, int refused) {
        int left = refused;
        for (int at = end * FIELDS - 1; left > 0; at -= FIELDS) {
            int length = fields.get(at);
            int taken = Math.max(length - left, 0);
            fields.put(at, taken);
            left -= length - taken;
        }
    }
}
