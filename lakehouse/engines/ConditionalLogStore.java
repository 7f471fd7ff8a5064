package lakehouse;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.util.Arrays;
import java.util.Iterator;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Delta's log on S3, where a commit is made by a request that the store refuses if the commit is there already.
 *
 * Delta's own looks first and writes then, so of two drivers at the same moment the later one would wipe out the other.
 */
public class ConditionalLogStore extends io.delta.storage.S3SingleDriverLogStore {

    public ConditionalLogStore(Configuration hadoop) {
        super(hadoop);
    }

    public void write(Path path, Iterator actions, Boolean overwrite, Configuration hadoop) throws IOException {
        if (overwrite.booleanValue()) {
            super.write(path, actions, overwrite, hadoop);
            return;
        }
        FileSystem store = path.getFileSystem(hadoop);
        byte[] commit = joined(actions);
        try {
            put(store, path, commit);
        } catch (IOException refused) {
            byte[] there = read(store, path);
            if (there == null) {
                throw refused;
            }
            // A request that was carried out and not answered is sent again, and then refused: what is there is ours
            if (!Arrays.equals(there, commit)) {
                throw new FileAlreadyExistsException(path.toString());
            }
        }
    }

    private static byte[] joined(Iterator actions) {
        StringBuilder lines = new StringBuilder();
        while (actions.hasNext()) {
            lines.append((String) actions.next()).append('\n');
        }
        return lines.toString().getBytes(StandardCharsets.UTF_8);
    }

    private static void put(FileSystem store, Path path, byte[] body) throws IOException {
        FSDataOutputStreamBuilder builder = store.createFile(path);
        builder.must("fs.option.create.conditional.overwrite", true);
        FSDataOutputStream stream = (FSDataOutputStream) builder.build();
        stream.write(body);
        stream.close();
    }

    private static byte[] read(FileSystem store, Path path) throws IOException {
        FSDataInputStream stream;
        try {
            stream = store.open(path);
        } catch (FileNotFoundException missing) {
            return null;
        }
        try {
            return stream.readAllBytes();
        } finally {
            stream.close();
        }
    }
}
