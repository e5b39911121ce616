package portable.jvm;

import java.lang.management.ManagementFactory;
import javax.management.InstanceAlreadyExistsException;
import javax.management.JMException;
import javax.management.MBeanServer;
import javax.management.ObjectName;

/**
 * What the process knows of a running server: an MBean, and a hook that stops it at exit.
 *
 * <p>One thread uses it.
 */
final class ProcessEntry {
    private final String name;
    private final LogSink log;
    private Thread hook;
    private ObjectName bean;

    ProcessEntry(String name, LogSink log) {
        this.name = name;
        this.log = log;
    }

    /** Has `stop` run when the process ends; returns false if it is ending already. */
    boolean addHook(Runnable stop) {
        hook = new Thread(stop, "portable-stop-" + name);
        try {
            Runtime.getRuntime().addShutdownHook(hook);
        } catch (IllegalStateException e) {
            hook = null;
        }
        return hook != null;
    }

    /** Registers `server` under a name that no other server has. */
    void addBean(PortableServerMXBean server) {
        MBeanServer beans = ManagementFactory.getPlatformMBeanServer();
        for (int number = 1; bean == null; number++) {
            String unique = number == 1 ? name : name + "-" + number;
            try {
                ObjectName candidate = new ObjectName("portable.jvm:type=Server,name=" + ObjectName.quote(unique));
                if (unique.matches("[\\w.-]+")) {
                    candidate = new ObjectName("portable.jvm:type=Server,name=" + unique);
                }
                beans.registerMBean(server, candidate);
                bean = candidate;
            } catch (InstanceAlreadyExistsException e) {
                continue; // two servers of one name
            } catch (JMException e) {
                log.log(System.Logger.Level.WARNING, "portable.jvm", "no MBean: " + e);
                return;
            }
        }
    }

    /** Takes back what there is of both. */
    void remove() {
        if (hook != null) {
            try {
                Runtime.getRuntime().removeShutdownHook(hook);
            } catch (IllegalStateException e) {
                hook = null; // it runs
            }
        }
        if (bean != null) {
            try {
                ManagementFactory.getPlatformMBeanServer().unregisterMBean(bean);
            } catch (JMException e) {
                bean = null; // somebody else did it
            }
        }
    }
}
