// The Java snippet, as a member would run it.

import java.security.MessageDigest;
import java.util.*;

final class Main implements Wire.Store {
    private static final Map<String, String> ENV = System.getenv();
    private final Set<String> there = new HashSet<>();

    public static void main(String[] arguments) throws Exception {
        Wire.consumeForEver(ENV.get("HOST"), Integer.parseInt(ENV.get("PORT")), ENV.get("QUEUE"), new Main());
    }

    public boolean has(String address, int turn) {
        boolean known = there.contains(address + " " + turn);
        if (known) System.out.printf("{\"again\": [\"%s\", %d]}%n", address, turn);
        return known;
    }

    public void keep(String address, int turn, Map<String, Object> headers, byte[] jws) throws Exception {
        there.add(address + " " + turn);
        StringJoiner values = new StringJoiner(", "), types = new StringJoiner(", ");
        headers.forEach((name, value) -> {
            boolean bare = value instanceof Number || value instanceof Boolean;
            values.add(bare ? "\"%s\": %s".formatted(name, value) : "\"%s\": \"%s\"".formatted(name, value));
            types.add("\"%s\": \"%s\"".formatted(name, value.getClass().getSimpleName()));
        });
        System.out.printf("{\"kept\": [\"%s\", %d], \"body\": \"%s\", \"headers\": {%s}, \"types\": {%s}}%n",
            address, turn, new String(jws, "US-ASCII"), values, types);
        if (address.equals(ENV.get("HOLD")) && turn == 1) System.in.read();
        Wire.acknowledge(address, jws, "received");
    }
}
