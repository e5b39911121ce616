package portable.jvm;

import java.util.Arrays;

/**
 * Gives out ids, and finds by id.
 *
 * <p>An id is `generation << 20 | slot`. A slot that is used again gets the next generation, so an id that is
 * used late, for something that has ended, finds nothing. Ids are never negative and never 0.
 */
final class SlotTable {
    private static final int SLOT_BITS = 20;
    private static final int SLOT_MASK = (1 << SLOT_BITS) - 1;
    private static final int LAST_GENERATION = (1 << 31 - SLOT_BITS) - 1;

    private Slot[] slots = new Slot[64];
    private int[] generations = new int[64];
    private int[] free = new int[64];
    private int freeCount;
    private int used; // slots below this number were given out at least once

    /** Returns an id for `slot`. */
    int add(Slot slot) throws PumpException {
        int number;
        if (freeCount > 0) {
            number = free[--freeCount];
        } else {
            if (used > SLOT_MASK) {
                throw new PumpException("EMFILE", "no more than " + used + " sockets");
            }
            number = used++;
            if (number == slots.length) {
                slots = Arrays.copyOf(slots, 2 * number);
                generations = Arrays.copyOf(generations, 2 * number);
                free = Arrays.copyOf(free, 2 * number);
            }
        }
        int generation = generations[number] < LAST_GENERATION ? generations[number] + 1 : 1;
        generations[number] = generation;
        slots[number] = slot;
        return generation << SLOT_BITS | number;
    }

    /** Returns what has `id` now, or null. */
    Slot get(int id) {
        int number = id & SLOT_MASK;
        if (number >= used || generations[number] != id >>> SLOT_BITS) {
            return null;
        }
        return slots[number];
    }

    /** Makes `id` stale. */
    void remove(int id) {
        int number = id & SLOT_MASK;
        slots[number] = null;
        free[freeCount++] = number;
    }
}
