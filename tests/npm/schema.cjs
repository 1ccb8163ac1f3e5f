// node schema.cjs RELEASE FILE...: checks dashboards against the types of a Grafana release, 11 or 13, and prints each
// mistake as a line. No key may be there that the types do not name.

const fs = require('node:fs');
const path = require('node:path');
const Ajv = require('ajv');
const { createGenerator } = require('ts-json-schema-generator');

const KINDS = {
  stat: ['StatOptions'],
  bargauge: ['BarGaugeOptions'],
  timeseries: ['TimeSeriesOptions', 'TimeSeriesCustom'],
  'state-timeline': ['StateTimelineOptions', 'StateTimelineCustom'],
  table: ['TableOptions', 'TableCustom'],
  text: ['TextOptions'],
};

// Grafana leaves these to others: options of a list of alerts have no published type, and an annotation's query and
// how it is shown are the Prometheus data source's own.
const UNTYPED = new Set(['alertlist']);
const OF_THE_DATA_SOURCE = ['expr', 'step', 'tagKeys', 'textFormat', 'titleFormat', 'useValueForTime'];

function main(release, files) {
  const generator = createGenerator({
    path: path.join(__dirname, `grafana-${release}.ts`),
    tsconfig: path.join(__dirname, `tsconfig-${release}.json`),
    expose: 'none',
    topRef: false,
    skipTypeCheck: true,
    additionalProperties: false,
  });
  const ajv = new Ajv({ allErrors: true, strict: false });
  const validators = new Map();
  const validatorOf = (type) => {
    if (!validators.has(type)) validators.set(type, ajv.compile(generator.createSchema(type)));
    return validators.get(type);
  };
  const check = (type, value, where) => {
    const validate = validatorOf(type);
    if (!validate(value)) {
      for (const error of validate.errors) {
        console.log(`${where}${error.instancePath} ${error.message} ${JSON.stringify(error.params)}`);
      }
    }
  };
  for (const file of files) {
    checkDashboard(JSON.parse(fs.readFileSync(file, 'utf8')), check);
  }
}

function checkDashboard(dashboard, check) {
  for (const annotation of dashboard.annotations.list) {
    OF_THE_DATA_SOURCE.forEach((key) => delete annotation[key]);
  }
  for (const panel of dashboard.panels) {
    const where = `${dashboard.uid}: ${panel.title}: `;
    check(panel.type === 'row' ? 'Row' : 'AnyPanel', panel, where);
    if (panel.type === 'row' || UNTYPED.has(panel.type)) continue;
    const [options, custom] = KINDS[panel.type];
    check(options, panel.options, `${where}options`);
    if (custom) check(custom, panel.fieldConfig.defaults.custom, `${where}custom`);
  }
  check('Board', { ...dashboard, panels: [] }, `${dashboard.uid}: `);
}

main(process.argv[2], process.argv.slice(3));
