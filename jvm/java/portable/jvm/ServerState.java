package portable.jvm;

/** Where a server is in its life. */
public enum ServerState {
    /** Made, and not started. */
    NEW,
    /** Loading and binding. */
    STARTING,
    /** Every port is bound and accepts. */
    RUNNING,
    /** Accepts nothing new and finishes the work in flight. */
    STOPPING,
    /** Ended as it should. */
    STOPPED,
    /** Could not start, or broke. */
    FAILED
}
