// What the package exports, in the form in which the catalogue names it.

const shown = (key) =>
  typeof key === 'symbol'
    ? `@@${key.description.replace(/^(nodejs|Symbol)\./, '')}`
    : key;

/** The key in a class's member names that the catalogue's form stands for. */
export const memberKey = (owner, name) =>
  Reflect.ownKeys(owner).find((key) => shown(key) === name);

/** Every callable thing that the modules export, in the catalogue's form. */
export function exportedNames(modules) {
  const names = new Set();
  for (const module of modules) {
    for (const [name, value] of Object.entries(module)) {
      if (typeof value !== 'function') continue;
      if (!/^class\b/.test(Function.prototype.toString.call(value))) {
        names.add(name);
        continue;
      }
      names.add(`new ${name}`);
      const members = [
        [value, ['length', 'name', 'prototype']],
        [value.prototype, ['constructor']],
      ];
      for (const [owner, without] of members) {
        for (const key of Reflect.ownKeys(owner)) {
          if (without.includes(key)) continue;
          const found = Object.getOwnPropertyDescriptor(owner, key);
          if (typeof found.value === 'function' || found.get)
            names.add(`${name}.${shown(key)}`);
          if (found.set) names.add(`${name}.${shown(key)}=`);
        }
      }
    }
  }
  return names;
}
