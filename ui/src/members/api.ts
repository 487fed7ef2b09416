// Members, torrents and freeleech of a private tracker, as the API has them.
import { config } from "../config";

export interface User {
  id: number;
  name: string;
  /** Null to who may not see it. */
  passkey: string | null;
  enabled: boolean;
  can_leech: boolean;
  protected: boolean;
  free_leech: boolean;
  double_upload: boolean;
  download_slots: number | null;
  uploaded: number;
  downloaded: number;
  seeding: number;
  leeching: number;
  created_at_secs: number;
}

export type Pricing = "normal" | "free" | "neutral";
export const PRICINGS: readonly Pricing[] = ["normal", "free", "neutral"];

export interface Torrent {
  id: number;
  info_hash: string;
  name: string;
  pricing: Pricing;
  double_upload: boolean;
  seeders: number;
  leechers: number;
  completed: number;
}

export interface Freeleech {
  pricing: Pricing;
  double_upload: boolean;
}

/** Entries asked for at once. */
export const PAGE = 20;

/** A page of a list: what to look for, and after which entry. */
export function query(like: string, after: number | null): string {
  const asked = new URLSearchParams({ limit: String(PAGE) });
  if (like.trim() !== "") asked.set("like", like.trim());
  if (after !== null) asked.set("after", String(after));
  return `?${asked}`;
}

/** The path of a member. */
export const userPath = (name: string) => `/users/${encodeURIComponent(name)}`;

/** Where a member announces to. */
export function announceUrls(passkey: string): string[] {
  return (config.value?.announce_urls ?? []).map((url) => url.replace("PASSKEY", passkey));
}
