// node kubernetes.cjs: prints the JSON Schemas of the types in kubernetes.ts, one for all, with a definition for each type.
// No key may be there that the types do not name.

const path = require('node:path');
const { createGenerator } = require('ts-json-schema-generator');

// The types say only that a duration is a string. This is the pattern in prometheus-operator's resource definitions.
const DURATION = '^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$';

const schema = createGenerator({
  path: path.join(__dirname, 'kubernetes.ts'),
  tsconfig: path.join(__dirname, 'tsconfig-kubernetes.json'),
  expose: 'all',
  topRef: true,
  skipTypeCheck: true,
  additionalProperties: false,
}).createSchema('*');

// The type of an object with any keys, such as a chart's values, is {}.
const open = (tree) => {
  if (tree === null || typeof tree !== 'object') return;
  if (tree.type === 'object' && tree.additionalProperties === false && !tree.properties) delete tree.additionalProperties;
  Object.values(tree).forEach(open);
};
open(schema.definitions);

for (const [name, definition] of Object.entries(schema.definitions)) {
  if (name.endsWith('Duration') && definition.type === 'string') definition.pattern = DURATION;
}
console.log(JSON.stringify(schema));
