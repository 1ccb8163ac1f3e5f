// node grafana.cjs RELEASE: Grafana's own code, of release 11 or 13, without its screens. Reads requests as lines of
// JSON and answers each with a line of JSON. `grafana.mjs` has the requests.

const path = require('node:path');
const { build } = require('esbuild');

// Packages that only draw. They are not installed (see "overrides" in package.json), and nothing here calls them.
const SCREEN = new RegExp(
  '^(@grafana/(ui|plugin-ui|e2e-selectors|i18n|faro-web-sdk|assistant|experimental)|@emotion/.*|@floating-ui/.*|@hello-pangea/.*' +
    '|@openfeature/.*|@reduxjs/.*|@tanstack/.*|d3|history|i18next.*|monaco-.*|ol|prismjs|react-.*|systemjs.*|uplot|whatwg-fetch)(/.*)?$',
);
const NOTHING = `
const traps = {
  get: (target, key) => (key === 'prototype' ? target.prototype : key === Symbol.toPrimitive ? () => '' : nothing),
  apply: () => nothing,
  construct: () => ({}),
};
const nothing = new Proxy(function () {}, traps);
// The bundler asks for the prototype, and takes all names that a module imports from it.
module.exports = new Proxy(function () {}, { ...traps, getPrototypeOf: () => nothing });
`;
const SCREENLESS = {
  name: 'screenless',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: SCREEN }, ({ path }) => ({ path, namespace: 'screen' }));
    onLoad({ filter: /.*/, namespace: 'screen' }, () => ({ contents: NOTHING }));
  },
};
const RELEASE_11 = {
  name: 'release 11',
  setup({ onResolve, resolve }) {
    onResolve({ filter: /^@grafana\/(data|prometheus|runtime)(\/.*)?$|^@grafana\/schema$/ }, ({ path, kind }) =>
      resolve(path.replace(/^@grafana\/(\w+)/, 'grafana-$1-11'), { kind, resolveDir: __dirname }),
    );
  },
};

// What the code expects of a browser while it is loaded.
globalThis.window = globalThis;
globalThis.grafanaBootData = { settings: {}, user: { locale: 'en' } };
globalThis.navigator ??= { language: 'en-US', languages: ['en-US'] };
globalThis.location = new URL('http://localhost/');
globalThis.localStorage = { getItem: () => null, setItem() {}, removeItem() {} };
globalThis.document = { addEventListener() {}, createElement: () => ({}), cookie: '', querySelector: () => null };
globalThis.addEventListener = () => {};
globalThis.IntersectionObserver = class {};

async function main(release) {
  const { outputFiles } = await build({
    entryPoints: [path.join(__dirname, 'grafana.mjs')],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'cjs',
    mainFields: ['module', 'main'],
    conditions: ['import'],
    logLevel: 'error',
    logLimit: 5,
    plugins: release === '11' ? [SCREENLESS, RELEASE_11] : [SCREENLESS],
  });
  module._compile(outputFiles[0].text, 'grafana.bundle.cjs');
}

main(process.argv[2]);
