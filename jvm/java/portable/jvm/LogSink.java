package portable.jvm;

/** Takes what a server logs. Must be quick, may be called from several threads, and must not throw. */
@FunctionalInterface
public interface LogSink {
    /**
     * Takes one record.
     *
     * @param level how much it matters
     * @param logger the name of the logger in Python, such as "portable.service"
     * @param message one line, then those of a traceback, if any; control characters from clients are escaped
     *     and known secrets masked
     */
    void log(System.Logger.Level level, String logger, String message);
}
