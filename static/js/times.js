// Keeps "6 s ago" true while a page stays open, by the server's clock, in the words of the template filter `ago`.

const SPANS = [[1, "s", 60], [60, "min", 60], [3600, "h", 48]];
const skew = Date.now() - 1000 * Number(document.body.dataset.now);

const about = (seconds) => {
  const [size, unit] = SPANS.find(([length, , most]) => seconds < length * most) ?? [86400, "d"];
  return `${Math.floor(seconds / size)} ${unit}`;
};

const tell = (seconds) => {
  if (Math.abs(seconds) < 5) return "just now";
  return seconds > 0 ? `${about(seconds)} ago` : `in ${about(-seconds)}`;
};

const refresh = () => {
  if (document.hidden) return;
  for (const one of document.querySelectorAll("time[datetime]")) {
    const seconds = (Date.now() - skew - Date.parse(one.dateTime)) / 1000;
    // Dates of long ago stay dates.
    if (!/ ago$|^just now$|^in /.test(one.textContent) || Math.abs(seconds) > 14 * 86400) continue;
    const words = tell(seconds);
    if (one.textContent !== words) one.textContent = words;
  }
};

setInterval(refresh, 5000);
document.addEventListener("visibilitychange", refresh);
