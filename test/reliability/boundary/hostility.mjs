// Hostile arguments: values of every wrong kind, and objects that throw, lie, change their answers or
// act while they are read. One Hostility belongs to one call and remembers what it may answer for.
import { chooser } from '../support.mjs';
import {
  detach,
  FLOAT_SPECIALS,
  INTEGER_SPECIALS,
  isHonest,
  isTypedArray,
  NUMBERS,
  STRINGS,
  TYPED_ARRAYS,
} from './hostile-values.mjs';

/** What the caller's own code throws: the package must hand it on or wrap it, never replace it. */
class HostileError extends Error {}

/** Proxies made here: looking into them would run their traps. */
const proxies = new WeakSet();

export class Hostility {
  /** @param next Uniform source of this call. */
  constructor(next) {
    this.random = chooser(next);
    this.thrown = new Set();
    this.revoked = false;
    this.interrupted = 0;
    /** What to do in the middle of an argument being read. */
    this.interruptions = [];
    this.signals = [];
    this.story = [];
  }

  /** Whether the caller's own objects account for an error. */
  answersFor(error) {
    if (this.thrown.has(error)) return true;
    if (this.signals.some(({ aborted, reason }) => aborted && reason === error))
      return true;
    return (
      this.revoked &&
      error instanceof TypeError &&
      /revoked/.test(error.message)
    );
  }

  throwSomething() {
    const error = this.random.pick([
      new HostileError('hostile'),
      new HostileError('hostile'),
      new TypeError('hostile'),
      Object.assign(new Error('hostile'), { code: 'ERR_HOSTILE' }),
      'a string',
      undefined,
      null,
      42,
      Object.create(null),
    ]);
    this.thrown.add(error);
    throw error;
  }

  interrupt() {
    const act = this.random.pick(this.interruptions);
    if (act === undefined || this.interrupted > 3) return;
    this.interrupted += 1; // a re-entrant call reads the same getters again
    try {
      const result = act();
      if (typeof result?.then === 'function')
        result.then(
          (made) => made?.close?.() ?? made?.dispose?.(),
          () => {},
        );
      else result?.dispose?.();
    } catch {
      // What a re-entrant call throws is judged by the calls of its own.
    }
  }

  number() {
    return this.random.pick(NUMBERS);
  }

  /** A typed array of any kind over any kind of memory. */
  typedArray() {
    const { random } = this;
    const Type = random.pick(TYPED_ARRAYS);
    const length = random.pick([0, 1, 2, 3, 6, 12, 100]);
    const bytes = length * Type.BYTES_PER_ELEMENT;
    switch (random.below(8)) {
      case 0:
        return new Type(new SharedArrayBuffer(bytes));
      case 1:
        return new Type(new ArrayBuffer(bytes + 16), 8, length);
      case 2:
        return new Type(new ArrayBuffer(bytes, { maxByteLength: bytes + 64 }));
      case 3: {
        const buffer = new ArrayBuffer(bytes + 8, { maxByteLength: bytes + 8 });
        const view = new Type(buffer, 8);
        buffer.resize(4); // the view lies outside of its buffer now
        return view;
      }
      case 4: {
        const view = new Type(length + 1);
        detach(view);
        return view;
      }
      default:
        return new Type(length);
    }
  }

  /** A typed array like a good one that lies about itself or whose memory is unusual. */
  disguise(good) {
    const { random } = this;
    const Type = good.constructor;
    const { length } = good;
    if (good.buffer.detached ?? length === 0) return this.typedArray();
    const fill = (view) => {
      view.set(good.subarray(0, view.length));
      return view;
    };
    switch (random.below(12)) {
      case 0: {
        const copy = good.slice();
        detach(copy);
        return copy;
      }
      case 1:
        return fill(new Type(new SharedArrayBuffer(good.byteLength)));
      case 2:
        return fill(new Type(new ArrayBuffer(good.byteLength + 24), 8, length));
      case 3: {
        const maxByteLength = 2 * good.byteLength + 8;
        return fill(
          new Type(new ArrayBuffer(good.byteLength, { maxByteLength })),
        );
      }
      case 4: {
        const copy = good.slice();
        Object.defineProperty(copy, 'length', { value: random.pick(NUMBERS) });
        return copy;
      }
      case 5:
        return Object.create(Type.prototype);
      case 6: {
        const longer = new Type(length + 1 + random.below(3));
        longer.set(good);
        return longer;
      }
      case 7:
        return good.subarray(0, Math.max(0, length - 1));
      case 8: {
        // Methods that answer with other arrays.
        const answer = random.pick([new Type(0), new Type(1), null, 'x', good]);
        return fill(
          new (class extends Type {
            slice() {
              return answer;
            }
            subarray() {
              return answer;
            }
            findIndex() {
              return -1;
            }
          })(length),
        );
      }
      case 9: {
        const Other = random.pick(TYPED_ARRAYS);
        return fill(
          new (class extends Type {
            static get [Symbol.species]() {
              return Other;
            }
          })(length),
        );
      }
      case 10:
        return new Proxy(good.slice(), {});
      default: {
        const copy = good.slice();
        Object.defineProperty(copy, 'constructor', {
          get: () => this.throwSomething(),
        });
        return copy;
      }
    }
  }

  /** Special values inside of a good array. */
  poison(good) {
    const copy = good.slice();
    const values =
      copy instanceof Float32Array || copy instanceof Float64Array
        ? FLOAT_SPECIALS
        : INTEGER_SPECIALS;
    for (let times = 1 + this.random.below(3); times > 0; times -= 1) {
      const value = this.random.pick(values);
      copy[this.random.below(copy.length)] =
        copy instanceof BigInt64Array || copy instanceof BigUint64Array
          ? BigInt(value)
          : value;
    }
    if (copy instanceof Float32Array && this.random.chance(0.2))
      copy.fill(this.random.pick(FLOAT_SPECIALS));
    return copy;
  }

  signal() {
    const { random } = this;
    const controller = new AbortController();
    this.signals.push(controller.signal);
    const reason = random.pick([
      undefined,
      null,
      'enough',
      0,
      new HostileError('aborted'),
    ]);
    const abort = () => controller.abort(reason);
    switch (random.below(6)) {
      case 0:
        abort();
        break;
      case 1:
        queueMicrotask(abort);
        break;
      case 2:
        setImmediate(abort);
        break;
      case 3:
        this.interruptions.push(abort);
        break;
      case 4:
        return Object.create(AbortSignal.prototype);
      default:
    }
    return controller.signal;
  }

  /** Anything but what was asked for. */
  value() {
    const { random } = this;
    switch (random.below(24)) {
      case 0:
        return undefined;
      case 1:
        return null;
      case 2:
        return random.chance(0.5);
      case 3:
      case 4:
      case 5:
      case 6:
        return this.number();
      case 7:
      case 8:
        return random.pick(STRINGS);
      case 9:
        return Symbol('hostile');
      case 10:
        return random.pick([0n, -1n, 2n ** 31n, 2n ** 64n]);
      case 11:
        return random.pick([() => {}, class {}, async () => {}]);
      case 12:
        return random.pick([
          {},
          [],
          Object.create(null),
          new Date(0),
          new Map(),
          new Set([1]),
          /x/,
          Promise.resolve(1),
          new Error('x'),
          new Number(3),
          new String('x'),
          new WeakMap(),
          new URL('file:///nowhere'),
          Buffer.from('x'),
          new DataView(new ArrayBuffer(8)),
          new ArrayBuffer(16),
          new SharedArrayBuffer(16),
        ]);
      case 13: {
        const { proxy, revoke } = Proxy.revocable(
          random.pick([{}, [], () => {}]),
          {},
        );
        revoke();
        this.revoked = true;
        return proxy;
      }
      case 14:
        return this.hostileProxy(random.pick([{}, [1, 2], [2, 3]]));
      case 15:
        return random.pick([new Array(2 ** 32 - 1), new Array(5)]);
      case 16:
        return [this.number(), this.number()];
      case 17:
        return [this.number()];
      case 18:
        return Array.from({ length: random.below(4) }, () => this.value());
      case 19:
        return this.signal();
      case 20:
        return {
          type: random.pick(STRINGS),
          data: this.typedArray(),
          dims: [this.number(), this.number()],
        };
      default:
        return this.typedArray();
    }
  }

  /** An object whose every operation may throw, act or answer with something else. */
  hostileProxy(target) {
    const { random } = this;
    const mischief = random.pick(['throw', 'act', 'change']);
    const after = random.below(4);
    let operations = 0;
    const meddle = () => {
      operations += 1;
      if (operations <= after) return false;
      if (mischief === 'throw') this.throwSomething();
      if (mischief === 'act') this.interrupt();
      return mischief === 'change';
    };
    const proxy = new Proxy(target, {
      get: (object, key, receiver) => {
        // The language asks arrays and promises for these; it, not the package, reports lies in them.
        if (typeof key === 'symbol' || key === 'then' || key === 'constructor')
          return Reflect.get(object, key, receiver);
        const own = Reflect.getOwnPropertyDescriptor(object, key);
        if (own?.configurable === false) return own.value;
        return meddle() ? this.value() : Reflect.get(object, key);
      },
      has: (object, key) => {
        meddle();
        return Reflect.has(object, key);
      },
      ownKeys: (object) => {
        meddle();
        return Reflect.ownKeys(object);
      },
      getOwnPropertyDescriptor: (object, key) => {
        meddle();
        return Reflect.getOwnPropertyDescriptor(object, key);
      },
    });
    proxies.add(proxy);
    return proxy;
  }

  /** Makes some of the arguments hostile; `args` is changed in place. */
  mutate(args) {
    const { random } = this;
    const times = random.pick([0, 1, 1, 1, 1, 2, 2, 3]);
    for (let time = 0; time < times; time += 1) {
      const places = placesIn(args);
      if (places.length === 0) return;
      const place = random.pick(places);
      const isArgument = place.holder === args;
      const kind = random.below(12);
      const good = place.holder[place.key];
      this.story.push(`${place.path} #${kind}`);
      if (isTypedArray(good) && random.chance(0.6) && isHonest(good)) {
        place.holder[place.key] = random.chance(0.5)
          ? this.disguise(good)
          : good.length > 0
            ? this.poison(good)
            : good;
        continue;
      }
      const define = (get) =>
        Object.defineProperty(place.holder, place.key, {
          get,
          configurable: true,
          enumerable: true,
        });
      if (kind < 6 || isArgument) {
        const isObject = typeof good === 'object' && good !== null;
        place.holder[place.key] =
          isObject && !isTypedArray(good) && random.chance(0.25)
            ? this.hostileProxy(good)
            : this.value();
      } else if (kind === 6) {
        define(() => this.throwSomething());
      } else if (kind === 7) {
        let reads = 0;
        const answer = this.value();
        define(() => {
          reads += 1;
          return reads > 1 ? answer : good;
        });
      } else if (kind === 8) {
        define(() => {
          this.interrupt();
          return good;
        });
      } else if (kind === 9 && Object.isExtensible(place.holder)) {
        delete place.holder[place.key];
      } else if (kind === 10 && !Array.isArray(place.holder)) {
        place.holder[random.pick(STRINGS)] = this.value();
      } else {
        place.holder[place.key] = this.number();
      }
    }
  }
}

/** Places below the arguments whose value can be replaced. */
function placesIn(root) {
  const places = [];
  const visit = (holder, path, depth) => {
    for (const key of Object.keys(holder)) {
      const found = Object.getOwnPropertyDescriptor(holder, key);
      if (!('value' in found) || !found.configurable) continue;
      const inner = `${path}.${key}`;
      places.push({ holder, key, path: inner });
      const { value } = found;
      if (depth < 3 && isPlain(value)) visit(value, inner, depth + 1);
    }
  };
  visit(root, '', 0);
  return places;
}

function isPlain(value) {
  if (typeof value !== 'object' || value === null || proxies.has(value))
    return false;
  try {
    const prototype = Object.getPrototypeOf(value);
    return (
      (prototype === Object.prototype || Array.isArray(value)) &&
      Object.keys(value).length < 50 &&
      !Object.isFrozen(value)
    );
  } catch {
    return false;
  }
}
