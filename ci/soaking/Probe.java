import com.sun.tools.attach.VirtualMachine;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.BufferPoolMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryMXBean;
import javax.management.MBeanServerConnection;
import javax.management.remote.JMXConnector;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

/**
 * Looks into the JVM of another process: for each line of standard input, collects its garbage and prints the bytes
 * that are left on the heap and those of direct buffers.
 */
public final class Probe {
    public static void main(String[] arguments) throws Exception {
        VirtualMachine machine = VirtualMachine.attach(arguments[0]);
        JMXServiceURL url = new JMXServiceURL(machine.startLocalManagementAgent());
        machine.detach();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        try (JMXConnector connector = JMXConnectorFactory.connect(url)) {
            MBeanServerConnection beans = connector.getMBeanServerConnection();
            MemoryMXBean memory = ManagementFactory.newPlatformMXBeanProxy(
                    beans, ManagementFactory.MEMORY_MXBEAN_NAME, MemoryMXBean.class);
            BufferPoolMXBean direct = ManagementFactory.newPlatformMXBeanProxy(
                    beans, "java.nio:type=BufferPool,name=direct", BufferPoolMXBean.class);
            while (input.readLine() != null) {
                memory.gc();
                System.out.println(memory.getHeapMemoryUsage().getUsed() + " " + direct.getMemoryUsed());
            }
        }
    }
}
