package portable.jvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Ids and generations. */
class SlotTableTest {
    @Test
    void aSlotsGenerationsAreDistinctPositiveAndComeRoundAgain() throws PumpException {
        try (Pump pump = new Pump()) {
            SlotTable table = pump.slots;
            Set<Integer> ids = new HashSet<>();
            for (int i = 0; i < 2047; i++) {
                int id = listenerLike(pump).id;
                assertTrue(id > 0);
                assertTrue(ids.add(id), "used twice");
                assertTrue(table.get(id) != null);
                table.remove(id);
                assertNull(table.get(id));
            }
            assertTrue(ids.contains(listenerLike(pump).id), "after 2047 generations the first again");
        }
    }

    @Test
    void thousandsAreKeptApart() throws PumpException {
        try (Pump pump = new Pump()) {
            Slot[] slots = new Slot[5000];
            for (int i = 0; i < slots.length; i++) {
                slots[i] = listenerLike(pump);
            }
            for (Slot slot : slots) {
                assertSame(slot, pump.slots.get(slot.id));
            }
        }
    }

    @Test
    void strangeIdsFindNothing() throws PumpException {
        try (Pump pump = new Pump()) {
            Slot slot = listenerLike(pump);
            for (int id : new int[] {0, -1, Integer.MIN_VALUE, Integer.MAX_VALUE, slot.id + 1, slot.id ^ 1 << 20}) {
                assertNull(pump.slots.get(id));
            }
            assertEquals(slot, pump.slots.get(slot.id));
        }
    }

    private static Slot listenerLike(Pump pump) throws PumpException {
        return new Listener(pump, null, true);
    }
}
