// https://api.atalk-ai.com/api-docs/api/image-generation, section 基础文生图示例 (javascript)
const apiUrl = 'https://api.atalk-ai.com/images/generate'
const apiKey = 'YOUR_API_KEY'

const payload = {
  model: 'flux-2-pro',
  prompt: '一只可爱的小猫在阳光下玩耍,摄影风格,柔和光线',
  aspect_ratio: '16:9',
}

const response = await fetch(apiUrl, {
  method: 'POST',
  headers: {
    'Content-Type': 'application/json',
    Authorization: `Bearer ${apiKey}`,
  },
  body: JSON.stringify(payload),
})

const result = await response.json()

if (result.code === 0) {
  const images = result.data || []
  images.forEach((data) => {
    console.log('图片 URL:', data.image)
  })
}
