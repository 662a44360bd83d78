// The amqplib snippet, as a member would run it. Pauses are the shortest that it makes.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import amqp from 'amqplib';
import { acknowledge, consumeForEver } from './snippet.mjs';

const { HOST, PORT, QUEUE, HOLD } = process.env;
const say = what => console.log(JSON.stringify(what));
const there = new Set();
const connect = amqp.connect;

Math.random = () => 0;
amqp.connect = (where, options) => {
  say({ login: createHash('sha256').update(where.password).digest('hex') });
  return connect(where, options);
};

await consumeForEver(HOST, Number(PORT), QUEUE, {
  has(address, turn) {
    const known = there.has(`${address} ${turn}`);
    if (known) say({ again: [address, turn] });
    return known;
  },
  async keep(address, turn, headers, jws, properties) {
    there.add(`${address} ${turn}`);
    const types = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, typeof value]));
    const { contentType, deliveryMode, messageId, type } = properties;
    say({ kept: [address, turn], body: jws.toString('ascii'), headers, types,
      properties: { contentType, deliveryMode, messageId, type } });
    if (address === HOLD && turn === 1) await once(process.stdin, 'data');
    await acknowledge(address, jws, 'received');
  },
});
