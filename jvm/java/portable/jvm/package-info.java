/**
 * Portable's servers inside a Java program, and its network input and output on the JVM.
 *
 * <p>Programs use {@link portable.jvm.PortableServer}, which runs the servers of a {@code .tap} file, with {@link
 * portable.jvm.ServerStatus}, {@link portable.jvm.ServerState}, {@link portable.jvm.LogSink} and {@link
 * portable.jvm.PortableException}; JMX consoles see {@link portable.jvm.PortableServerMXBean}. {@link
 * portable.jvm.Main} is such a program.
 *
 * <p>The other public classes are what Python calls, and not for programs. {@link portable.jvm.HostLoop} and {@link
 * portable.jvm.HostRequest} join a server to its Python half. {@link portable.jvm.Pump} is one selector, and one
 * exchange of events and operations per turn of a loop that runs in Python; {@link portable.jvm.ArrayPump} is the same
 * for a Python that has no view of Java's buffers.
 */
package portable.jvm;
