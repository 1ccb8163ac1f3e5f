// What Grafana makes of a dashboard: the values of its variables, the texts of its queries, and the cells of its tables.
// Everything that decides is Grafana's own. This file only hands a dashboard to it, and connects it to a Prometheus.

import {
  applyFieldOverrides,
  createTheme,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  FieldConfigOptionsRegistry,
  getFieldDisplayName,
  identityOverrideProcessor,
  LoadingState,
  numberOverrideProcessor,
  renderLegendFormat,
  standardTransformers,
  standardTransformersRegistry,
  stringOverrideProcessor,
  thresholdsOverrideProcessor,
  transformDataFrame,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';
import { PrometheusDatasource } from '@grafana/prometheus';
import { setBackendSrv, setDataSourceSrv, setRunRequest, setTemplateSrv } from '@grafana/runtime';
import {
  DataSourceVariable,
  EmbeddedScene,
  QueryVariable,
  SceneFlexLayout,
  sceneGraph,
  SceneTimeRange,
  SceneVariableSet,
  TextBoxVariable,
} from '@grafana/scenes';
import { createInterface } from 'node:readline';
import { firstValueFrom, from, lastValueFrom, map } from 'rxjs';

const UID = 'prometheus';
const DATA_SOURCE = { type: 'prometheus', uid: UID };
let prometheus = '';
let scene;
let results = {};
let opened = {};

// Stands for Grafana's server, which is no JavaScript: answers queries with the results that `show` was given, and
// passes all other requests on to Prometheus.
async function serve({ url, method, params, data }) {
  if (url.includes('/ds/query')) return { data: { results }, status: 200 };
  const place = new URL(prometheus + url.replace(/^.*\/resources/, ''));
  const sent = new URLSearchParams(params ?? data);
  if (method !== 'POST') sent.forEach((value, name) => place.searchParams.append(name, value));
  const answer = await fetch(place, method === 'POST' ? { method, body: sent } : {});
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  return { data: body };
}

setBackendSrv({ fetch: (request) => from(serve(request)) });
const templates = {
  replace: (text, scoped, format) => sceneGraph.interpolate(scene, text, scoped, format),
  containsTemplate: (text) => text.includes('$'),
  getVariables: () => [],
};
setTemplateSrv(templates);
const settings = { ...DATA_SOURCE, id: 1, name: 'Prometheus', access: 'proxy', url: '', jsonData: {}, meta: { id: 'prometheus' } };
let source;
setDataSourceSrv({ get: async () => source, getInstanceSettings: () => settings, getList: () => [settings] });
setRunRequest((_, request, query) =>
  from(query(request)).pipe(map(({ data }) => ({ series: data, state: LoadingState.Done, timeRange: request.range }))),
);

function variable({ type, name, query, current, ...rest }) {
  const value = { text: current?.text ?? '', value: current?.value ?? '' };
  if (type === 'datasource') {
    return new DataSourceVariable({ name, pluginId: query, text: 'Prometheus', value: UID, skipUrlSync: true });
  }
  if (type === 'textbox') return new TextBoxVariable({ name, value: value.value || query });
  return new QueryVariable({
    name,
    query,
    ...value,
    datasource: DATA_SOURCE,
    regex: rest.regex,
    sort: rest.sort,
    refresh: rest.refresh,
    isMulti: rest.multi,
    includeAll: rest.includeAll,
    allValue: rest.allValue,
  });
}

async function settled(variables) {
  while (variables.state.variables.some((each) => variables.isVariableLoadingOrWaitingToUpdate(each))) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

// Opens a dashboard over a time range in Unix seconds, whose end is now. `chosen` are the values that a user selects.
async function open(request) {
  const key = JSON.stringify(request);
  if (opened.key !== key) opened = { key, variables: await openNew(request) };
  return opened.variables;
}

async function openNew({ dashboard, from, to, chosen, url }) {
  prometheus = url;
  Date.now = () => to * 1000;
  source = new PrometheusDatasource(settings, templates);
  const variables = new SceneVariableSet({ variables: dashboard.templating.list.map(variable) });
  scene = new EmbeddedScene({
    $timeRange: new SceneTimeRange({ from: new Date(from * 1000).toISOString(), to: new Date(to * 1000).toISOString() }),
    $variables: variables,
    body: new SceneFlexLayout({ children: [] }),
  });
  scene.activate();
  await settled(variables);
  for (const [name, value] of Object.entries(chosen)) {
    const selected = variables.getByName(name);
    if (selected instanceof TextBoxVariable) selected.setValue(value);
    else selected.changeValueTo(value);
    await settled(variables);
  }
  return Object.fromEntries(
    variables.state.variables.map(({ state }) => [
      state.name,
      { offered: (state.options ?? []).map(({ value }) => value), value: state.value, error: state.error ? String(state.error) : null },
    ]),
  );
}

// The query of a panel as it leaves the browser. Grafana's server then replaces the variables of the step.
async function query({ target }) {
  return source.applyTemplateVariables(target, {}).expr;
}

async function interpolate({ text }) {
  return templates.replace(text);
}

async function legend({ format, labels }) {
  return renderLegendFormat(format, labels);
}

const registry = new FieldConfigOptionsRegistry();
for (const [id, process, path] of [
  ['displayName', displayNameOverrideProcessor],
  ['unit', unitOverrideProcessor],
  ['decimals', numberOverrideProcessor],
  ['min', numberOverrideProcessor],
  ['max', numberOverrideProcessor],
  ['noValue', stringOverrideProcessor],
  ['thresholds', thresholdsOverrideProcessor],
  ['mappings', valueMappingsOverrideProcessor],
  ['links', dataLinksOverrideProcessor],
  ['color', identityOverrideProcessor],
]) {
  registry.register({ id, path: path ?? id, name: id, process, shouldApply: () => true, override: () => null, editor: () => null });
}
const transformers = new Map(Object.values(standardTransformers).map((each) => [each.id, each]));
standardTransformersRegistry.setInit(() =>
  Array.from(transformers, ([id, transformer]) => {
    // Release 11 wants the transformer, release 13 a function that loads it.
    const { name, operator, defaultOptions } = transformer;
    const transformation = Object.assign(async () => transformer, { id, operator, defaultOptions });
    return { id, name, transformation, editor: () => null };
  }),
);
const theme = createTheme();

// Grafana's server sends a frame for each series, and one empty frame if there is none.
function frame(refId, at, { labels, value }) {
  const fields = [
    { name: 'Time', type: 'time' },
    { name: 'Value', type: 'number', labels },
  ];
  return { schema: { refId, meta: { custom: { resultType: 'vector' } }, fields }, data: { values: [[at * 1000], [value]] } };
}

// The columns of a table, or the fields of another panel: title, and the text and colour of each value. `answers` has
// for each query the series of Prometheus' answer.
async function show({ panel, answers, at }) {
  results = Object.fromEntries(
    panel.targets.map(({ refId }, place) => {
      const frames = answers[place].map((series) => frame(refId, at, series));
      return [refId, { frames: frames.length ? frames : [{ schema: { refId, fields: [] }, data: { values: [] } }] }];
    }),
  );
  const request = { requestId: '1', targets: panel.targets, range: sceneGraph.getTimeRange(scene).state.value, scopedVars: {}, intervalMs: 60_000 };
  const { data } = await lastValueFrom(source.query(request));
  const shaped = await firstValueFrom(transformDataFrame(panel.transformations ?? [], data));
  const shown = applyFieldOverrides({
    data: shaped,
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: registry,
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
  return shown.flatMap((frame) =>
    frame.fields.map((field) => ({
      title: getFieldDisplayName(field, frame, shown),
      values: Array.from(field.values.toArray?.() ?? field.values),
      texts: Array.from(field.values.toArray?.() ?? field.values, (value) => {
        const { prefix, text, suffix } = field.display(value);
        return `${prefix ?? ''}${text}${suffix ?? ''}`;
      }),
      colors: Array.from(field.values.toArray?.() ?? field.values, (value) => field.display(value).color ?? null),
    })),
  );
}

const REQUESTS = { open, query, interpolate, legend, show };

async function main() {
  for await (const line of createInterface({ input: process.stdin })) {
    const { request, ...rest } = JSON.parse(line);
    const answer = await REQUESTS[request](rest).then(
      (result) => ({ result }),
      (error) => ({ error: String(error.stack ?? error) }),
    );
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}

Object.assign(console, { error() {}, info() {}, log() {}, warn() {} });
main();
