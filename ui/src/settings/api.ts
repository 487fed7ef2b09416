// The web API: what changes the tracker. The token is kept for this tab alone (sessionStorage) and
// goes nowhere but into a header of requests to this tracker.
import { shallowRef } from "vue";

export type Scope = "read" | "operate" | "admin";

export interface Session {
  name: string;
  scope: Scope;
}

export interface Setting {
  key: string;
  section: string;
  value: string | number | boolean | string[] | null;
  value_number: number | null;
  default: string | number | boolean | string[] | null;
  kind: "duration" | "number" | "bool" | "bytes" | "text" | "list";
  unit: string | null;
  min: number | null;
  max: number | null;
  choices: string[];
  help: string;
  takes: "now" | "reload" | "restart";
  source: "default" | "file" | "flag" | "environment" | "changed";
}

export interface Token {
  id: string;
  name: string;
  scope: Scope;
}

export interface Listed {
  entries: string[];
  total: number;
  next: string | null;
}

const PLACE = "peerage.token";
const ANSWER_MS_MAX = 15_000;

/** Who is signed in; null for nobody. */
export const session = shallowRef<Session | null>(null);

let token = read();

function read(): string | null {
  try {
    return sessionStorage.getItem(PLACE);
  } catch {
    return null;
  }
}

function remember(to: string | null) {
  token = to;
  try {
    if (to === null) sessionStorage.removeItem(PLACE);
    else sessionStorage.setItem(PLACE, to);
  } catch {
    // It holds until the page is left.
  }
}

/** Why the tracker did not do it. Status 0: it does not answer. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    text: string,
    readonly field: string | null = null,
    readonly retrySecs: number | null = null,
  ) {
    super(text);
  }
}

/** Asks the API, with a file or with JSON. Throws `Refused`; a token that is no longer taken signs
 * out. */
export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { authorization: `Bearer ${token ?? ""}` };
  const isFile = body instanceof Blob;
  if (isFile) headers["content-type"] = "application/octet-stream";
  else if (body !== undefined) headers["content-type"] = "application/json";
  let reply: Response;
  try {
    reply = await fetch(`/api/v1${path}`, {
      method,
      headers,
      body: body === undefined ? null : isFile ? body : JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    });
  } catch (error) {
    throw new Refused(0, String(error));
  }
  if (reply.ok) return (reply.status === 204 ? undefined : await reply.json()) as T;
  const said = (await reply.json().catch(() => ({}))) as { error?: string; field?: string | null };
  if (reply.status === 401) signOut();
  const retry = Number(reply.headers.get("retry-after")) || null;
  throw new Refused(reply.status, said.error ?? reply.statusText, said.field ?? null, retry);
}

/** Signs in by a token, which is kept only if it is right. */
export async function signIn(by: string): Promise<void> {
  token = by.trim();
  const found = await call<Session>("GET", "/session");
  remember(token);
  session.value = found;
}

/** Signs in by the token that this tab has kept, if any. */
export async function signInAgain(): Promise<void> {
  if (token) session.value = await call<Session>("GET", "/session");
}

export function signOut() {
  remember(null);
  session.value = null;
}

const RANK: Record<Scope, number> = { read: 0, operate: 1, admin: 2 };

/** Whether who is signed in may do what `scope` may. */
export function may(scope: Scope): boolean {
  return session.value !== null && RANK[session.value.scope] >= RANK[scope];
}
