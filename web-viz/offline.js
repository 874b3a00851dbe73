// Keeps the page for times without its server. It stores each file that the server returns, and uses the
// stored file when the server does not answer. It handles the page's own files only, and asks no cluster.

const KEPT = "glassraft-page";
const HOME = new URL("./", self.location).href;

/** The address without search and fragment: they do not change which file the page is. */
function bare(address) {
  const url = new URL(address);
  return url.origin + url.pathname;
}

function isOwn(request) {
  const address = bare(request.url);
  const isPage = request.mode === "navigate" && (address === HOME || address === HOME + "index.html");
  const isFile = address.startsWith(HOME) && /\.(css|js|wasm|woff2)$/.test(address);
  return request.method === "GET" && (isPage || isFile);
}

async function give(request) {
  const kept = await caches.open(KEPT);
  try {
    const fresh = await fetch(request);
    if (fresh.ok) await kept.put(bare(request.url), fresh.clone());
    return fresh;
  } catch (error) {
    const found = await kept.match(bare(request.url));
    if (found) return found;
    throw error;
  }
}

/** Stores the files that the page loaded before this worker started. Removes files of other versions. */
async function keep(addresses) {
  const kept = await caches.open(KEPT);
  const wanted = addresses.map(bare);
  for (const request of await kept.keys()) {
    if (!wanted.includes(request.url)) await kept.delete(request);
  }
  for (const address of wanted) {
    if (!(await kept.match(address))) await kept.add(address);
  }
}

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("message", (event) => event.waitUntil(keep(event.data)));
self.addEventListener("fetch", (event) => {
  if (isOwn(event.request)) event.respondWith(give(event.request));
});
