// The body of `/stats.json` and `/history.json`, as far as the pages show it. The manual says what
// each number is.

/** What whoever made a location file asks to be said where it is used. */
export interface Credit {
  text: string;
  url: string;
}

export interface ByFamily<T> {
  ipv4: T;
  ipv6: T;
}

export interface ByProtocol<T> {
  udp: T;
  http: T;
}

export interface Requests {
  connect: number;
  announce: number;
  scrape: number;
}

export interface Datagrams {
  datagrams_in: number;
  datagrams_out: number;
  bytes_in: number;
  bytes_out: number;
  kernel_drops: number;
  truncated: number;
  send_failures: number;
  receive_failures: number;
}

export interface Streams {
  accepted: number;
  bytes_in: number;
  bytes_out: number;
}

export interface Latency {
  p50_us: number;
  p99_us: number;
  p999_us: number;
  count: number;
}

export interface Interval {
  now_secs: number;
  goal_secs: number;
  min_secs: number;
  max_secs: number;
  why: string;
}

export interface Client {
  prefix: string;
  name: string | null;
  announces: number;
}

export interface Swarm {
  info_hash: string;
  seeders: number;
  leechers: number;
  completed: number;
}

/** Of a private tracker. */
export interface Private {
  tables: "peerage" | "gazelle";
  members: number;
  online: number;
  torrents: number;
  tokens: number;
  seeders: number;
  leechers: number;
  credited: { uploaded: number; downloaded: number };
  credited_per_sec: { uploaded: number; downloaded: number };
  rows_waiting: number;
  oldest_row_secs: number;
  rows_written: number;
  database: {
    state: "well" | "failing" | "readonly";
    written_secs_ago: number | null;
    failures: number;
    rows_refused: number;
  };
}

/** Of a node among others. */
export interface Shared {
  connected: boolean;
  nodes: number;
  silent_millis: number | null;
  trip_micros: number;
  waiting_swarms: number;
  waiting_changes: number;
  dropped_changes: number;
  missed_messages: number;
  cold_swarms: number;
  catching_up: number;
  members: SharedMembers | null;
}

/** Of a private tracker's node. */
export interface SharedMembers {
  waiting_claims: number;
  dropped_claims: number;
  late_claims: number;
  waiting_swarms: number;
  catching_up: number;
  updates: {
    waiting: number;
    sent: number;
    heard: number;
    dropped: number;
    missed: number;
  } | null;
}

export interface Stats {
  version: string;
  failed: number;
  started_at_secs: number;
  uptime_secs: number;
  interval: Interval;
  load: { averages: [number, number, number] | null; max: number };
  memory: { resident_bytes: number | null; swarms_bytes: number };
  swarms: number;
  peers: { total: number; seeders: ByFamily<number>; leechers: ByFamily<number> };
  completed: number;
  private: Private | null;
  shared: Shared | null;
  expired: { peers: number; swarms: number };
  requests: ByProtocol<ByFamily<Requests>>;
  refusals: ByProtocol<Record<string, number>>;
  not_stored: number;
  lists: { allowed: number | null; denied: number };
  udp: ByFamily<Datagrams> & { malformed: number; bad_connection_ids: number };
  http: ByFamily<Streams> & {
    open: number;
    refused: number;
    handed_over: number;
    timed_out: number;
    idle_closed: number;
    accept_failures: number;
    bad_proxy_headers: number;
    malformed: number;
    replies: Record<string, number>;
  };
  pages: { requests: number; open: number; turned_away: number };
  rates: ByProtocol<ByFamily<Requests>>;
  latency: ByProtocol<Latency | null>;
  clients: Client[];
  largest: Swarm[] | null;
  locations: {
    file: string;
    rows: number;
    bytes: number;
    loaded_at_secs: number;
    attribution: Credit[];
  } | null;
  map: { viewers: number; dropped_viewers: number; points_sent: number };
}

export type Span = "minute" | "hour" | "day";
export const SPANS: readonly Span[] = ["minute", "hour", "day"];

export type Points = (number | null)[];

export interface History {
  span: Span;
  step_secs: number;
  start_secs: number;
  points: number;
  series: Record<
    | "udp_ipv4"
    | "udp_ipv6"
    | "http_ipv4"
    | "http_ipv6"
    | "refusals"
    | "peers"
    | "seeders"
    | "leechers"
    | "swarms"
    | "load"
    | "resident_bytes"
    | "interval_secs"
    | "latency_us"
    | "online"
    | "credited_uploaded"
    | "credited_downloaded",
    Points
  >;
}

/** Requests per second of one protocol and family, all kinds together. */
export function sum(requests: Requests): number {
  return requests.connect + requests.announce + requests.scrape;
}

/** Requests per second over everything. */
export function total(rates: ByProtocol<ByFamily<Requests>>): number {
  const { udp, http } = rates;
  return sum(udp.ipv4) + sum(udp.ipv6) + sum(http.ipv4) + sum(http.ipv6);
}

/** How many there are of each, where members' peers are not among those of all swarms. */
export function totals({ private: of, peers, swarms, completed }: Stats) {
  const both = ({ ipv4, ipv6 }: ByFamily<number>) => ipv4 + ipv6;
  return {
    swarms: of ? of.torrents : swarms,
    seeders: of ? of.seeders : both(peers.seeders),
    leechers: of ? of.leechers : both(peers.leechers),
    peers: of ? of.seeders + of.leechers : peers.total,
    completed,
  };
}

/** A credit in three parts: what goes before its address, the address, and what comes after. */
export function credited({ text, url }: Credit): [string, string, string] {
  const at = text.indexOf(url);
  return at < 0
    ? [`${text} `, url, ""]
    : [text.slice(0, at), url, text.slice(at + url.length)];
}
