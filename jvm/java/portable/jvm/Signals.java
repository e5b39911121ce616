package portable.jvm;

import java.lang.reflect.Proxy;

/**
 * The signals of the process, for {@link Main}, whose process it is.
 *
 * <p>Java has no documented way to them. This one has been there from its beginning; it is spoken to by reflection
 * because the compiler warns of it.
 */
final class Signals {
    private Signals() {}

    /** Has `action` run, in a thread of its own, each time that the signal `name` comes, if that can be had here. */
    static void handle(String name, Runnable action) {
        try {
            Class<?> signal = Class.forName("sun.misc.Signal");
            Class<?> handler = Class.forName("sun.misc.SignalHandler");
            Object calling = Proxy.newProxyInstance(
                    Signals.class.getClassLoader(), new Class<?>[] {handler}, (self, method, arguments) -> {
                        action.run();
                        return null;
                    });
            Object named = signal.getConstructor(String.class).newInstance(name);
            signal.getMethod("handle", signal, handler).invoke(null, named, calling);
        } catch (ReflectiveOperationException e) {
            // -Xrs, or no such signal on this system: what the JVM does by itself has to do.
            return;
        }
    }
}
