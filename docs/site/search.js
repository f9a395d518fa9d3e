// The search takes every word for the beginning of one: "a" of "what is in a record" finds every page, and
// "vulnerability" is not the beginning of the stem "vulner". So the words of every question are left out, each
// word is asked for by its stem (^ is a weight, and no wildcard), and of a name all parts must be there.
const LEFT_OUT = new Set(("a an and are as at be by can do does for from have how i if in is it many much my of on or " +
  "should that the there this to what when where which who why will with").split(" "))
const QUERY = 2

function asked(query) {
  const words = query.split(/\s+/).map(word => word.replace(/[?!,;"`]/g, "")).filter(Boolean)
  const kept = words.filter(word => !LEFT_OUT.has(word.toLowerCase()))
  const terms = (kept.length ? kept : words).flatMap((word, i, all) => {
    if (/[+\-^~*:]/.test(word)) return [word]
    const parts = word.split(/[._/()]+/).filter(Boolean), last = parts.pop() ?? word
    // What is being typed may go on; of a name it begins as its stem does.
    if (parts.length) return [...parts.map(part => `+${part}`), `+${last.replace(/(e?s?|y)$/, "")}*`]
    return i === all.length - 1 ? [`${last}^4`, `${last.replace(/(e?s?|y)$/, "")}*`] : [`${last}^4`]
  })
  return terms.join(" ")
}

const post = Worker.prototype.postMessage
Worker.prototype.postMessage = function (message, ...rest) {
  if (message?.type === QUERY && typeof message.data === "string") {
    message = {...message, data: asked(message.data)}
  }
  return post.call(this, message, ...rest)
}
