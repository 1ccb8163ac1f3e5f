// What Grafana 13's dashboards consist of, by its own types: those of the dashboard, and of each kind of panel used.

import type * as Stat from './node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type * as BarGauge from './node_modules/@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/types.gen';
import type * as TimeSeries from './node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';
import type * as StateTimeline from './node_modules/@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/types.gen';
import type * as Table from './node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
import type * as Text from './node_modules/@grafana/schema/dist/types/raw/composable/text/panelcfg/x/types.gen';
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
