// The search looks for every word and for all that begins with it: "a" of "what is in a record" finds every page.
// So the words of every question are left out of what is asked.
const LEFT_OUT = new Set(("a an and are as at be by can do does for from have how i if in is it many much my of on or " +
  "should that the there this to what when where which who why will with").split(" "))
const QUERY = 2

const post = Worker.prototype.postMessage
Worker.prototype.postMessage = function (message, ...rest) {
  if (message?.type === QUERY && typeof message.data === "string") {
    const kept = message.data.split(/\s+/).filter(word => !LEFT_OUT.has(word.toLowerCase())).join(" ")
    message = {...message, data: kept || message.data}
  }
  return post.call(this, message, ...rest)
}
