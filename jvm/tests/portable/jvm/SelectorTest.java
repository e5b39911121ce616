package portable.jvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.Socket;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;

/** The wait: how it ends, and when it should not have. */
class SelectorTest {
    private static final Duration PATIENCE = Duration.ofNanos(Loop.PATIENCE);

    @Test
    void anotherThreadEndsTheWait() throws Exception {
        try (Pump pump = new Pump()) {
            Thread waker = new Thread(pump::wakeup);
            waker.start();
            assertTimeoutPreemptively(PATIENCE, () -> pump.poll(-1, 0));
            waker.join();
        }
    }

    @Test
    void aWakeUpBeforeTheWaitIsNotLost() throws Exception {
        try (Pump pump = new Pump()) {
            pump.wakeup();
            assertEquals(0, assertTimeoutPreemptively(PATIENCE, () -> pump.poll(-1, 0)));
        }
    }

    @Test
    void closingAListenerSwallowsNoWakeUp() throws Exception {
        try (Pump pump = new Pump()) {
            int listener = pump.listenTcp("127.0.0.1", 0, 1, false);
            pump.wakeup();
            pump.closeListener(listener);
            assertTimeoutPreemptively(PATIENCE, () -> pump.poll(-1, 0));
        }
    }

    @Test
    void aWakeUpEndsOneWaitOnly() throws Exception {
        try (Pump pump = new Pump()) {
            pump.wakeup();
            pump.wakeup();
            pump.poll(-1, 0);
            long start = System.nanoTime();
            pump.poll(40, 0);
            assertTrue(System.nanoTime() - start >= 30_000_000L);
        }
    }

    @Test
    void anInterruptEndsOneWaitAndIsCleared() throws Exception {
        try (Pump pump = new Pump()) {
            AtomicBoolean left = new AtomicBoolean(true);
            Thread thread =
                    new Thread(
                            () -> {
                                Thread.currentThread().interrupt();
                                try {
                                    pump.poll(-1, 0);
                                    left.set(Thread.currentThread().isInterrupted());
                                } catch (PumpException e) {
                                    // `left` stays true.
                                }
                            });
            thread.start();
            thread.join(PATIENCE.toMillis());
            assertFalse(left.get());
        }
    }

    @Test
    void aSelectorThatReturnsForNothingIsReplacedAndConnectionsLiveOn() throws IOException {
        AtomicBoolean broken = new AtomicBoolean(false);
        PumpSelector.SelectCall call =
                (selector, action, timeout) -> {
                    if (!broken.get()) {
                        selector.selectNow(action);
                    }
                };
        try (Loop loop = new Loop(new Pump(4096, 512 * 1024, 8192, 1024 * 1024, call))) {
            int listener = loop.listen();
            try (Socket peer = loop.dial(listener)) {
                int id = loop.accepted();
                broken.set(true);
                for (int i = 1; i < PumpSelector.MOST_PREMATURE; i++) {
                    loop.pump.poll(-1, 0);
                }
                assertEquals(0, loop.pump.selector.rebuilds());
                loop.pump.poll(-1, 0);
                loop.pump.poll(-1, 0);
                assertEquals(1, loop.pump.selector.rebuilds());
                broken.set(false);
                peer.getOutputStream().write('x');
                loop.await(EventBuffer.DATA, id);
                try (Socket next = loop.dial(listener)) {
                    loop.accepted();
                    assertTrue(next.isConnected());
                }
            }
        }
    }

    @Test
    void waitsThatRunOutAndPollsThatDoNotWaitAreNotPremature() throws IOException {
        try (Pump pump = new Pump()) {
            for (int i = 0; i < 2 * PumpSelector.MOST_PREMATURE; i++) {
                pump.poll(0, 0);
            }
            for (int i = 0; i < PumpSelector.MOST_PREMATURE + 8; i++) {
                pump.poll(1, 0);
            }
            assertEquals(0, pump.selector.rebuilds());
        }
    }
}
