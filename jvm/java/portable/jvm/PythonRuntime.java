package portable.jvm;

import java.io.File;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * The one Python of this process, reached through Jep.
 *
 * <p>Jep is spoken to by reflection: this jar is compiled, and is of use, where there is no Jep.
 */
final class PythonRuntime {
    private static final int PATIENCE_SECONDS = 30;
    // Jep finds Java packages before Python's, and would take ours, portable.jvm, for all there is of "portable".
    private static final String PREPARE = "import sys\n"
            + "sys.path[:0] = [one for one in _folders.split('\\n') if one and one not in sys.path]\n"
            + "sys.meta_path.sort(key=lambda finder: type(finder).__module__ == 'jep.java_import_hook')\n";
    // Finds Jep without importing it, which only works where Java is the host.
    private static final String PROBE = "import importlib.util, os, sys\n"
            + "spec = importlib.util.find_spec('jep')\n"
            + "folder = spec.submodule_search_locations[0] if spec else ''\n"
            // In one piece, and on a line of its own: others may write between.
            + "found = (sys.version.split()[0], sys.executable, os.path.realpath(sys.prefix), folder)\n"
            + "print('\\nportable', *found, sep='\\n')\n";

    private static PythonRuntime running;

    private final String executable;
    /** See {@link #probe}. */
    private final List<String> told;
    private final Class<?> interpreterClass;

    private PythonRuntime(String executable, List<String> told, Class<?> interpreterClass) {
        this.executable = executable;
        this.told = told;
        this.interpreterClass = interpreterClass;
    }

    /** An interpreter. Belongs to the thread that made it. */
    static final class Interpreter implements AutoCloseable {
        private final Object jep;

        private Interpreter(Object jep) {
            this.jep = jep;
        }

        /**
         * Runs the servers of a file, to their end. Fails with a JepException, which is unchecked.
         *
         * @param folders where to look for modules, too
         * @param drain null: as the file says
         */
        void serve(HostLoop loop, List<Path> folders, Path tap, Duration drain, boolean debug) throws PortableException {
            set("_folders", String.join("\n", folders.stream().map(Path::toString).toList()));
            exec(PREPARE);
            set("_loop", loop);
            set("_tap", tap.toString());
            set("_drain", HostRequest.seconds(drain));
            set("_debug", debug);
            try {
                exec("import jvm.host\njvm.host.serve(_loop, _tap, _drain, _debug)");
            } finally {
                exec("del _loop");
            }
        }

        private void exec(String code) throws PortableException {
            call("exec", new Class<?>[] {String.class}, code);
        }

        private void set(String name, Object value) throws PortableException {
            call("set", new Class<?>[] {String.class, Object.class}, name, value);
        }

        @Override
        public void close() throws PortableException {
            call("close", new Class<?>[0]);
        }

        private void call(String name, Class<?>[] types, Object... arguments) throws PortableException {
            invoke(jep, jep.getClass(), name, types, arguments);
        }
    }

    /** Returns a new interpreter for the calling thread. All of them share their modules. */
    Interpreter open() throws PortableException {
        try {
            return new Interpreter(interpreterClass.getConstructor().newInstance());
        } catch (InvocationTargetException e) {
            throw new PortableException("Python does not start: " + e.getCause().getMessage(), e.getCause());
        } catch (ReflectiveOperationException e) {
            throw new PortableException("this Jep is none we know: " + e.getMessage(), e);
        }
    }

    /**
     * Returns the process's Python, starting it if there is none.
     *
     * @param wanted the executable; null to find one
     */
    static synchronized PythonRuntime get(Path wanted) throws PortableException {
        if (running != null) {
            // A process has one Python for all its life.
            if (wanted != null && !running.isAlso(absolute(wanted))) {
                throw new PortableException(
                        "this process runs " + running.executable + " already, and cannot run " + wanted + " too", null);
            }
            return running;
        }
        String command = wanted != null ? absolute(wanted) : find();
        List<String> told = probe(command);
        String folder = told.get(3);
        if (folder.isEmpty()) {
            throw new PortableException(
                    "the Python package jep is not installed for " + command + " (Python " + told.get(0)
                            + "): run JAVA_HOME=... " + command + " -m pip install jep",
                    null);
        }
        Class<?> main = load("jep.MainInterpreter", folder);
        Class<?> interpreter = load("jep.SharedInterpreter", folder);
        try {
            configure(main, interpreter, told.get(1), folder);
        } catch (InvocationTargetException e) {
            // The host program uses Jep itself, and Python runs: take it as it is.
            if (!(e.getCause() instanceof IllegalStateException)) {
                throw new PortableException("Jep cannot be set up: " + e.getCause().getMessage(), e.getCause());
            }
        } catch (ReflectiveOperationException e) {
            throw new PortableException("this Jep is none we know: " + e.getMessage(), e);
        }
        String executable = wanted != null ? command : absolute(Path.of(told.get(1)));
        running = new PythonRuntime(executable, told, interpreter);
        return running;
    }

    /** Returns whether `command` is this Python, by whatever name: that of the same virtual environment. */
    private boolean isAlso(String command) throws PortableException {
        if (command.equals(executable)) {
            return true;
        }
        List<String> other = probe(command);
        return other.get(0).equals(told.get(0)) && other.get(2).equals(told.get(2));
    }

    private static void configure(Class<?> main, Class<?> interpreter, String executable, String folder)
            throws ReflectiveOperationException {
        main.getMethod("setJepLibraryPath", String.class)
                .invoke(null, Path.of(folder, System.mapLibraryName("jep")).toString());
        ClassLoader loader = main.getClassLoader();
        // Given its own name, Python finds its library and the packages of its virtual environment by itself.
        Class<?> configClass = loader.loadClass("jep.PyConfig");
        Object config = configClass.getConstructor().newInstance();
        configClass.getMethod("setProgramName", String.class).invoke(config, executable);
        main.getMethod("setInitParams", configClass).invoke(null, config);
        Class<?> optionsClass = loader.loadClass("jep.JepConfig");
        Object options = optionsClass.getConstructor().newInstance();
        optionsClass.getMethod("setClassLoader", ClassLoader.class)
                .invoke(options, PythonRuntime.class.getClassLoader());
        interpreter.getMethod("setConfig", optionsClass).invoke(null, options);
    }

    private static Class<?> load(String name, String folder) throws PortableException {
        try {
            return Class.forName(name, false, PythonRuntime.class.getClassLoader());
        } catch (ClassNotFoundException e) {
            throw new PortableException("jep.jar is not on the class path; add " + jarIn(folder), e);
        }
    }

    private static String jarIn(String folder) {
        String[] names = new File(folder).list((place, name) -> name.matches("jep-[0-9.]+\\.jar"));
        return names == null || names.length == 0 ? "the one of " + folder : Path.of(folder, names[0]).toString();
    }

    private static String find() throws PortableException {
        String named = System.getenv("PORTABLE_PYTHON");
        if (named != null && !named.isEmpty()) {
            return absolute(Path.of(named));
        }
        String environment = System.getenv("VIRTUAL_ENV");
        if (environment != null && !environment.isEmpty()) {
            return absolute(Path.of(environment, "bin", "python"));
        }
        String path = System.getenv("PATH");
        for (String folder : path == null ? new String[0] : path.split(File.pathSeparator)) {
            Path candidate = Path.of(folder, "python3");
            if (Files.isExecutable(candidate)) {
                return absolute(candidate);
            }
        }
        throw new PortableException(
                "no Python was named, PORTABLE_PYTHON and VIRTUAL_ENV are not set, and PATH has no python3", null);
    }

    /** Makes it absolute and leaves links as they are: by its link a virtual environment is known. */
    private static String absolute(Path path) {
        return path.toAbsolutePath().normalize().toString();
    }

    /** Returns version, executable, prefix and the folder of jep, or "", as that Python tells. */
    private static List<String> probe(String command) throws PortableException {
        Process process = null;
        try {
            process = new ProcessBuilder(command, "-c", PROBE)
                    .redirectErrorStream(true)
                    .redirectInput(ProcessBuilder.Redirect.from(new File("/dev/null")))
                    .start();
            Process watched = process;
            process.onExit().orTimeout(PATIENCE_SECONDS, TimeUnit.SECONDS).exceptionally(late -> {
                watched.destroyForcibly();
                return null;
            });
            String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            int status = process.waitFor();
            List<String> lines = output.lines().toList();
            int found = lines.lastIndexOf("portable");
            if (status != 0 || found < 0 || found + 5 > lines.size()) {
                throw new PortableException(command + " is no Python that works: " + output.strip(), null);
            }
            return lines.subList(found + 1, found + 5);
        } catch (IOException e) {
            throw new PortableException(command + " cannot be run: " + e.getMessage(), e);
        } catch (InterruptedException e) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
            throw new PortableException("interrupted", e);
        }
    }

    private static void invoke(Object target, Class<?> type, String name, Class<?>[] types, Object... arguments)
            throws PortableException {
        try {
            type.getMethod(name, types).invoke(target, arguments);
        } catch (InvocationTargetException e) {
            if (e.getCause() instanceof RuntimeException failure) {
                throw failure;
            }
            throw new PortableException("Jep failed: " + e.getCause(), e.getCause());
        } catch (ReflectiveOperationException e) {
            throw new PortableException("this Jep is none we know: " + e.getMessage(), e);
        }
    }
}
