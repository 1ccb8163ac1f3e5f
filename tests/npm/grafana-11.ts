// What Grafana 11's dashboards consist of, by its own types: those of the dashboard, and of each kind of panel used.

import type * as Stat from './node_modules/grafana-schema-11/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as BarGauge from './node_modules/grafana-schema-11/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as TimeSeries from './node_modules/grafana-schema-11/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import type * as StateTimeline from './node_modules/grafana-schema-11/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as Table from './node_modules/grafana-schema-11/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as Text from './node_modules/grafana-schema-11/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen';
import type { Dashboard, Panel, RowPanel } from '@grafana/schema';

export type Board = Dashboard;
export type Row = RowPanel;
export type AnyPanel = Panel;
export type StatOptions = Partial<Stat.Options>;
export type BarGaugeOptions = Partial<BarGauge.Options>;
export type TimeSeriesOptions = Partial<TimeSeries.Options>;
export type StateTimelineOptions = Partial<StateTimeline.Options>;
export type TableOptions = Partial<Table.Options>;
export type TextOptions = Partial<Text.Options>;
export type TimeSeriesCustom = Partial<TimeSeries.FieldConfig>;
export type StateTimelineCustom = Partial<StateTimeline.FieldConfig>;
export type TableCustom = Partial<Table.FieldConfig>;
