// What an addon for Windows needs and shows, from the headers of the file.
import { readFileSync } from 'node:fs';

/** Node, and what every Windows from 10 on has: its kernel and its C library. */
const LIBRARIES =
  /^(node\.exe|kernel32\.dll|ntdll\.dll|api-ms-win-crt-[a-z]+-l1-1-0\.dll)$/i;

/** Bits of the characteristics of a library: addresses that differ from start to start, and no code in data. */
const HARDENING = { 'high-entropy addresses': 0x20, ASLR: 0x40, NX: 0x100 };

/** An addon for Windows on 64 bits. */
export function readPe(file) {
  const bytes = readFileSync(file);
  const header = bytes.readUInt32LE(0x3c);
  const optional = header + 24;
  if (bytes.readUInt16LE(optional) !== 0x20b) {
    throw new Error(`${file}: not a 64-bit library`);
  }
  const sections = optional + bytes.readUInt16LE(header + 20);
  const count = bytes.readUInt16LE(header + 6);
  /** Where an address of the loaded library lies in the file. */
  const place = (address) => {
    for (let i = 0; i < count; i += 1) {
      const section = sections + 40 * i;
      const start = bytes.readUInt32LE(section + 12);
      const length = bytes.readUInt32LE(section + 16);
      if (address >= start && address < start + length) {
        return address - start + bytes.readUInt32LE(section + 20);
      }
    }
    throw new Error(`${file}: nothing at address ${address}`);
  };
  const text = (address) => {
    const start = place(address);
    return bytes.toString('latin1', start, bytes.indexOf(0, start));
  };
  const directory = (index) => bytes.readUInt32LE(optional + 112 + 8 * index);

  const exported = place(directory(0));
  const names = place(bytes.readUInt32LE(exported + 32));
  const shown = Array.from(
    { length: bytes.readUInt32LE(exported + 24) },
    (_, i) => text(bytes.readUInt32LE(names + 4 * i)),
  );
  const libraries = [];
  for (let entry = place(directory(1)); ; entry += 20) {
    const name = bytes.readUInt32LE(entry + 12);
    if (name === 0) break;
    libraries.push(text(name));
  }
  const characteristics = bytes.readUInt16LE(optional + 70);
  const problems = Object.entries(HARDENING)
    .filter(([, bit]) => (characteristics & bit) === 0)
    .map(([name]) => `is not hardened: no ${name}`);
  return {
    ...{ needs: ['Windows 10'], shown, libraries, problems },
    allowedLibraries: LIBRARIES,
  };
}
