// https://api.atalk-ai.com/api-docs/api/image-generation, section JavaScript 处理示例

// 处理 URL 格式图片
async function downloadImage(url, filename) {
    const response = await fetch(url)
    const blob = await response.blob()
    const link = document.createElement('a')
    link.href = URL.createObjectURL(blob)
    link.download = filename
    link.click()
    URL.revokeObjectURL(link.href)
}
// 处理 Base64 格式图片
function saveBase64Image(base64Data, mimeType, filename) {
    const link = document.createElement('a')
    link.href = `data:${mimeType};base64,${base64Data}`
    link.download = filename
    link.click()
}
// 统一处理函数
async function saveImage(imageObj, filename) {
    if (imageObj.type === 'url') {
        await downloadImage(imageObj.image, filename)
    } else if (imageObj.type === 'base64') {
        saveBase64Image(imageObj.image, imageObj.mimeType, filename)
    }
}
