import java.io.BufferedReader;
import java.io.File;
import java.io.FileWriter;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.HColumnDescriptor;
import org.apache.hadoop.hbase.HTableDescriptor;
import org.apache.hadoop.hbase.LocalHBaseCluster;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.io.compress.Compression;
import org.apache.hadoop.hbase.io.encoding.DataBlockEncoding;
import org.apache.hadoop.hbase.regionserver.BloomType;
import org.apache.log4j.BasicConfigurator;
import org.apache.log4j.Level;
import org.apache.log4j.Logger;
import org.apache.zookeeper.server.NIOServerCnxnFactory;
import org.apache.zookeeper.server.ZooKeeperServer;

/**
 * HBase, its ZooKeeper and a TSD in one process, on free ports of the loopback interface. Ends at
 * the end of its standard input, and removes its data then, so that nothing remains when the test
 * is killed.
 *
 * <p>Arguments: the directory with the jars of the TSD, the directory for data, and settings
 * {@code KEY=VALUE} of the TSD. Prints {@code ready PORT}. The TSD's configuration is the file
 * {@code tsdb.conf} in the directory. A line {@code COMPRESSION ENCODING} on standard input
 * rewrites the data table with these settings, and is answered with its size in bytes.
 */
public class OpenTsdb {
  /** The four tables, with their families. */
  private static final String[] TABLES = {"tsdb-uid id name", "tsdb t", "tsdb-tree t", "tsdb-meta name"};

  public static void main(String[] args) throws Exception {
    File data = new File(args[1]);
    Thread main = new Thread(() -> {
      try {
        run(args, data);
      } catch (Throwable error) {
        error.printStackTrace();
        end(data, 1);
      }
    });
    main.start();
  }

  private static void run(String[] args, File data) throws Exception {
    PrintStream out = System.out;
    InputStream in = System.in;
    // The TSD closes it.
    System.setIn(InputStream.nullInputStream());
    // The log of HBase; the TSD's is set up by its own library.
    System.setOut(System.err);
    BasicConfigurator.configure();
    Logger.getRootLogger().setLevel(Level.ERROR);
    Configuration hbase = startHBase(data);
    try (Connection connection = ConnectionFactory.createConnection(hbase);
        Admin admin = connection.getAdmin()) {
      for (String table : TABLES) {
        createTable(admin, table.split(" "));
      }
      int port;
      try (ServerSocket free = new ServerSocket(0)) {
        port = free.getLocalPort();
      }
      startTsd(new File(args[0]), configuration(args, data, port, hbase));
      out.println("ready " + port);
      BufferedReader commands = new BufferedReader(new InputStreamReader(in));
      for (String line; (line = commands.readLine()) != null; ) {
        String[] words = line.split(" ");
        // The end of the input is noticed in the meantime.
        Thread rewriting = new Thread(() -> {
          try {
            out.println(rewrite(admin, data, words[0], words[1]));
          } catch (Exception error) {
            error.printStackTrace();
            end(data, 1);
          }
        });
        rewriting.start();
      }
    }
    end(data, 0);
  }

  private static Configuration startHBase(File data) throws Exception {
    NIOServerCnxnFactory zookeeper = new NIOServerCnxnFactory();
    zookeeper.configure(new InetSocketAddress("127.0.0.1", 0), 100);
    File state = new File(data, "zookeeper");
    zookeeper.startup(new ZooKeeperServer(state, state, 2000));
    Configuration conf = HBaseConfiguration.create();
    conf.set("hbase.rootdir", new File(data, "hbase").toURI().toString());
    conf.set("hbase.tmp.dir", new File(data, "tmp").getPath());
    conf.set("hbase.zookeeper.quorum", "127.0.0.1");
    conf.setInt("hbase.zookeeper.property.clientPort", zookeeper.getLocalPort());
    for (String server : new String[] {"hbase.master", "hbase.regionserver"}) {
      conf.set(server + ".hostname", "localhost");
      conf.set(server + ".ipc.address", "127.0.0.1");
      conf.setInt(server + ".port", 0);
      conf.setInt(server + ".info.port", -1);
    }
    // One region server is enough to start.
    conf.setInt("hbase.master.wait.on.regionservers.maxtostart", 1);
    conf.setInt("hbase.regionserver.handler.count", 4);
    new LocalHBaseCluster(conf, 1).startup();
    return conf;
  }

  /** As OpenTSDB's create_table.sh, except for its default compression LZO, which HBase lacks. */
  private static void createTable(Admin admin, String[] words) throws Exception {
    HTableDescriptor table = new HTableDescriptor(TableName.valueOf(words[0]));
    for (int word = 1; word < words.length; word++) {
      HColumnDescriptor family = new HColumnDescriptor(words[word]);
      family.setMaxVersions(1);
      family.setBloomFilterType(BloomType.ROW);
      family.setDataBlockEncoding(DataBlockEncoding.DIFF);
      table.addFamily(family);
    }
    admin.createTable(table);
  }

  private static File configuration(String[] args, File data, int port, Configuration hbase)
      throws Exception {
    File file = new File(data, "tsdb.conf");
    File none = new File(data, "none");
    none.mkdir();
    try (FileWriter out = new FileWriter(file)) {
      out.write("tsd.network.bind = 127.0.0.1\n");
      out.write("tsd.network.port = " + port + "\n");
      out.write("tsd.http.staticroot = " + none + "\n");
      out.write("tsd.http.cachedir = " + none + "\n");
      out.write("tsd.storage.hbase.zk_quorum = 127.0.0.1:"
          + hbase.get("hbase.zookeeper.property.clientPort") + "\n");
      for (int setting = 2; setting < args.length; setting++) {
        out.write(args[setting] + "\n");
      }
    }
    return file;
  }

  /** With other versions of the same libraries than HBase. Returns when the TSD listens. */
  private static void startTsd(File jars, File conf) throws Exception {
    File logging = new File(conf.getParentFile(), "logback.xml");
    try (FileWriter out = new FileWriter(logging)) {
      out.write("<configuration><appender name='log' class='ch.qos.logback.core.ConsoleAppender'>"
          + "<encoder><pattern>%d %level %logger{0}: %msg%n</pattern></encoder></appender>"
          + "<root level='WARN'><appender-ref ref='log'/></root></configuration>");
    }
    System.setProperty("logback.configurationFile", logging.getPath());
    File[] files = jars.listFiles((directory, name) -> name.endsWith(".jar"));
    URL[] urls = new URL[files.length];
    for (int file = 0; file < files.length; file++) {
      urls[file] = files[file].toURI().toURL();
    }
    ClassLoader loader = new URLClassLoader(urls, ClassLoader.getPlatformClassLoader());
    Thread.currentThread().setContextClassLoader(loader);
    Method start = loader.loadClass("net.opentsdb.tools.TSDMain").getMethod("main", String[].class);
    // The class is not public.
    start.setAccessible(true);
    start.invoke(null, (Object) new String[] {"--config=" + conf});
  }

  /** Everything in one store file, as after a major compaction. */
  private static long rewrite(Admin admin, File data, String compression, String encoding)
      throws Exception {
    TableName table = TableName.valueOf("tsdb");
    HColumnDescriptor family = admin.getTableDescriptor(table).getFamilies().iterator().next();
    family.setCompressionType(Compression.Algorithm.valueOf(compression));
    family.setDataBlockEncoding(DataBlockEncoding.valueOf(encoding));
    admin.disableTable(table);
    admin.modifyColumn(table, family);
    admin.enableTable(table);
    admin.flush(table);
    long before = System.currentTimeMillis();
    admin.majorCompact(table);
    Path files = new File(data, "hbase/data/default/tsdb").toPath();
    while (true) {
      Thread.sleep(500);
      try (Stream<Path> found = Files.find(files, 3, (path, attributes) ->
          attributes.isRegularFile() && path.getParent().endsWith("t")
              && !path.getFileName().toString().startsWith("."))) {
        Path[] stores = found.toArray(Path[]::new);
        if (stores.length == 1
            && Files.getLastModifiedTime(stores[0]).toMillis() >= before) {
          return Files.size(stores[0]);
        }
      }
    }
  }

  /** Without the shutdown hooks, which wait for each other. */
  private static void end(File data, int status) {
    System.err.flush();
    // Threads still write files.
    for (int attempt = 0; attempt < 10 && data.exists(); attempt++) {
      try (Stream<Path> files = Files.walk(data.toPath())) {
        files.sorted(Comparator.reverseOrder()).map(Path::toFile).forEach(File::delete);
      } catch (Exception error) {
        // The next attempt finds what was added.
      }
    }
    Runtime.getRuntime().halt(status);
  }
}
