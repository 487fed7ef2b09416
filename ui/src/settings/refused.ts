// What a refusal is called in the reader's language. What the tracker says about a value is in
// English and stands beside it.
import { t } from "../messages";
import { Refused } from "./api";

/** One line for `error`. */
export function told(error: unknown): string {
  if (!(error instanceof Refused)) return t("refused.other", { text: String(error) });
  switch (error.status) {
    case 0:
      return t("refused.away");
    case 401:
      return t("refused.token");
    case 403:
      return t("refused.scope");
    case 429:
      return t("refused.often", { n: error.retrySecs ?? 60 });
    default:
      return t("refused.other", { text: error.message });
  }
}
